//! The selector grammar, read left to right. Errors name the place and what was expected.

use std::collections::BTreeSet;

use super::{Requirement, TEXT_BYTES_MAX, Test};

/// The text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at column {column}")]
pub struct ParseError {
    reason: String,
    /// Column of the first character that does not fit, from 1.
    pub column: usize,
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, ParseError> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > TEXT_BYTES_MAX {
        return Err(parser.error(format!("longer than {TEXT_BYTES_MAX} bytes")));
    }
    let mut requirements = Vec::new();
    parser.skip_space();
    if parser.rest().is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(parser.requirement()?);
        parser.skip_space();
        if parser.rest().is_empty() {
            return Ok(requirements);
        }
        parser.expect(",")?;
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        self.skip_space();
        if self.eat("!") {
            return Ok(Requirement { key: self.key()?, test: Test::Absent });
        }
        let key = self.key()?;
        self.skip_space();
        let test = if self.eat("!=") {
            Test::NotIn([self.value()?].into())
        } else if self.eat("==") || self.eat("=") {
            Test::In([self.value()?].into())
        } else if self.eat_word("in") {
            Test::In(self.set()?)
        } else if self.eat_word("notin") {
            Test::NotIn(self.set()?)
        } else if self.rest().is_empty() || self.rest().starts_with(',') {
            Test::Exists
        } else {
            return Err(self.error("expected =, ==, !=, in, notin or a comma".to_owned()));
        };
        Ok(Requirement { key, test })
    }

    fn key(&mut self) -> Result<String, ParseError> {
        self.skip_space();
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        let key = self.take_while(allowed);
        if key.is_empty() {
            return Err(self.error("expected a key".to_owned()));
        }
        Ok(key.to_owned())
    }

    /// A value ends where the grammar goes on; the empty value is one.
    fn value(&mut self) -> Result<String, ParseError> {
        self.skip_space();
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '=' | '!');
        Ok(self.take_while(|c| !ends(c)).to_owned())
    }

    fn set(&mut self) -> Result<BTreeSet<String>, ParseError> {
        self.expect("(")?;
        let mut set = BTreeSet::new();
        loop {
            set.insert(self.value()?);
            self.skip_space();
            if self.eat(")") {
                return Ok(set);
            }
            if !self.eat(",") {
                return Err(self.error("expected a comma or )".to_owned()));
            }
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), ParseError> {
        self.skip_space();
        if self.eat(token) { Ok(()) } else { Err(self.error(format!("expected {token:?}"))) }
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let after = self.rest().strip_prefix(word);
        let ends =
            after.is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace() || c == '('));
        ends && self.eat(word)
    }

    fn take_while(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, reason: String) -> ParseError {
        ParseError { reason, column: self.text[..self.at].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_name_the_place() {
        for (text, column) in
            [("=a", 1), ("env=prod,,", 10), ("env in prod", 8), ("env in (a", 10), ("a b", 3)]
        {
            assert_eq!(requirements(text).unwrap_err().column, column, "{text:?}");
        }
        assert!(requirements(&"a".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,64}") {
            let _ = requirements(&text);
        }
    }
}

//! Secrets in anybody's text: configs as YAML, JSON, TOML or environment files, error messages,
//! URLs. Read line by line and never understood, so that broken text hides as much as good text:
//! in doubt the rest of a line goes, and all lines that may belong to it.

use super::REDACTED;

/// What names a secret, in lower case and without anything but letters and digits.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "accountkey",
    "authkey",
    "licensekey",
    "ingestkey",
    "ingestionkey",
    "encryptionkey",
    "privatekey",
    "sharedkey",
    "signingkey",
    "keypem",
    "authorization",
    "bearer",
    "credential",
    "cookie",
    "signature",
    "sharedaccess",
    "dsn",
    "datasource",
    "connectionstring",
    "connstr",
    "connectionurl",
    "databaseurl",
    "headers",
    "jaas",
    "community",
];
/// The same, where it is all there is.
const WHOLE_NAMES: &[&str] = &["pass", "pw", "auth", "sas", "sig"];
/// Words that may make up one name.
const NAME_WORDS_MAX: usize = 3;
/// Least characters of a credential behind `Bearer` or `Basic`.
const CREDENTIAL_CHARS_MIN: usize = 6;
/// Least characters of a JWT.
const JWT_CHARS_MIN: usize = 20;

/// Whether something of this name is a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    WHOLE_NAMES.contains(&plain.as_str()) || NAMES.iter().any(|known| plain.contains(known))
}

/// The text without what looks like a secret in it.
pub fn mask(text: &str) -> String {
    let mut masker = Masker::default();
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive(['\n', '\r']) {
        let content = line.trim_end_matches(['\n', '\r']);
        masked.push_str(&masker.line(content));
        masked.push_str(&line[content.len()..]);
    }
    masked
}

/// Goes through lines and remembers what they are part of.
#[derive(Debug, Default)]
struct Masker {
    hiding: Hiding,
    /// The last `name:` named a secret, whose `value:` is to come.
    named: bool,
}

/// Why the next line is hidden.
#[derive(Debug, Default)]
enum Hiding {
    #[default]
    No,
    Value(Value),
    /// A private key, up to its end.
    Key,
    /// A section of a TOML or INI file.
    Section,
    /// What goes on there.
    NextLine,
}

/// A value that may take more lines.
#[derive(Debug)]
struct Value {
    /// Column of its key: what is further in belongs to it.
    column: usize,
    /// Nothing stood behind the key, so items at its own column belong to it too.
    items: bool,
    /// Brackets that are open.
    depth: usize,
    /// The quote that is open.
    quote: Option<&'static str>,
}

impl Masker {
    fn line(&mut self, line: &str) -> String {
        if self.hides(line) {
            let indent = &line[..line.len() - line.trim_start().len()];
            return match line.trim().is_empty() {
                true => line.to_owned(),
                false => format!("{indent}{REDACTED}"),
            };
        }
        self.hiding = Hiding::No;
        if let Some(section) = section(line) {
            if section.split('.').any(names_a_secret) {
                self.hiding = Hiding::Section;
            }
            return line.to_owned();
        }
        let Some(found) = self.find(line) else {
            return urls(line);
        };
        let (head, rest) = line.split_at(found.at);
        self.hiding = found.hides(line, rest);
        match rest.trim() {
            "" => urls(head),
            _ => format!("{}{}{REDACTED}", urls(head), if found.spaced { " " } else { "" }),
        }
    }

    /// Whether a line belongs to what is being hidden.
    fn hides(&mut self, line: &str) -> bool {
        let text = line.trim();
        match &mut self.hiding {
            Hiding::No => false,
            Hiding::Key => {
                if text.contains("-----END") {
                    self.hiding = Hiding::No;
                }
                true
            }
            Hiding::Section => !text.starts_with('['),
            Hiding::NextLine => {
                if !text.is_empty() {
                    self.hiding = match text.ends_with('\\') {
                        true => Hiding::NextLine,
                        false => Hiding::No,
                    };
                }
                true
            }
            Hiding::Value(value) => value.takes(line),
        }
    }

    /// Where the first secret of a line begins.
    fn find(&mut self, line: &str) -> Option<Found> {
        let mut found: Option<Found> = None;
        let mut earliest = |next: Found| {
            if found.as_ref().is_none_or(|found| next.at < found.at) {
                found = Some(next);
            }
        };
        if let Some(at) = line.find("-----BEGIN").filter(|_| line.contains("PRIVATE KEY")) {
            earliest(Found { at, spaced: false, what: What::Key });
        }
        if let Some(at) = credential(line) {
            earliest(Found { at, spaced: false, what: What::Word });
        }
        if let Some(at) = flag(line) {
            earliest(Found { at, spaced: true, what: What::Flag });
        }
        for (at, separator) in line.match_indices([':', '=', '>']) {
            let name = name_before(&line[..at]);
            let after = at + separator.len();
            let is_secret = names_a_secret(name) || (self.named && is_value(name));
            if is_secret {
                earliest(Found { at: after, spaced: separator == ":", what: What::Value });
                break;
            }
            if matches!(bare(name), "name" | "key") {
                self.named = names_a_secret(first_word(&line[after..]));
            }
        }
        found
    }
}

/// Where a secret begins.
#[derive(Debug)]
struct Found {
    at: usize,
    /// A space is to stand in front of what stands for it.
    spaced: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Behind a name.
    Value,
    /// Behind a flag of a command line.
    Flag,
    /// By itself.
    Word,
    Key,
}

impl Found {
    /// What the lines after this one have to do with it.
    fn hides(&self, line: &str, rest: &str) -> Hiding {
        let goes_on = rest.trim_end().ends_with('\\');
        match self.what {
            What::Key if rest.contains("-----END") => Hiding::No,
            What::Key => Hiding::Key,
            What::Flag if goes_on || rest.trim_matches(|c| " \t\"',".contains(c)).is_empty() => {
                Hiding::NextLine
            }
            What::Value | What::Word if goes_on => Hiding::NextLine,
            What::Value => Hiding::Value(Value::behind(line, rest)),
            What::Flag | What::Word => Hiding::No,
        }
    }
}

impl Value {
    fn behind(line: &str, rest: &str) -> Self {
        let text = rest.trim();
        let key = line.trim_start_matches([' ', '\t', '-', '?']);
        let quotes = ["\"\"\"", "'''", "\"", "'", "`"];
        let quote = quotes.into_iter().find(|quote| text.starts_with(quote));
        let quote = quote.filter(|quote| !closes(&text[quote.len()..], quote));
        let column = line.len() - key.len();
        Self { column, items: text.is_empty(), depth: opened(text, 0), quote }
    }

    /// Whether a line is part of it.
    fn takes(&mut self, line: &str) -> bool {
        let text = line.trim();
        if let Some(quote) = self.quote {
            if closes(text, quote) {
                self.quote = None;
            }
            return true;
        }
        if self.depth > 0 {
            self.depth = opened(text, self.depth);
            return true;
        }
        let column = line.len() - line.trim_start().len();
        let is_item = self.items && column == self.column && text.starts_with('-');
        text.is_empty() || column > self.column || is_item
    }
}

/// Whether an open quote ends in a text. One behind a backslash does not count.
fn closes(text: &str, quote: &str) -> bool {
    text.match_indices(quote).any(|(at, _)| !text[..at].ends_with('\\'))
}

/// Brackets that are open after a text, when so many were before.
fn opened(text: &str, before: usize) -> usize {
    text.chars().fold(before, |depth, c| match c {
        '{' | '[' | '(' => depth + 1,
        '}' | ']' | ')' => depth.saturating_sub(1),
        _ => depth,
    })
}

/// The name of a section, as `[exporter.headers]` begins one.
fn section(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix('[')?.strip_suffix(']')?;
    let plain = |c: char| c.is_alphanumeric() || "._-[]/ ".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then(|| name.trim_matches(['[', ']']))
}

/// The name that a text ends with: a few words, whatever quotes are around them.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t', '"', '\'', '\\', '`']);
    let part = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    let begin = text.rfind(|c| !part(c));
    let words = begin.map_or(text, |at| {
        let width = text[at..].chars().next().map_or(1, char::len_utf8);
        &text[at + width..]
    });
    match words.rmatch_indices(' ').nth(NAME_WORDS_MAX - 1) {
        Some((at, _)) => &words[at + 1..],
        None => words,
    }
}

fn is_value(name: &str) -> bool {
    matches!(bare(name), "value" | "values" | "default")
}

/// A name without the dash of the list that it is in.
fn bare(name: &str) -> &str {
    name.trim_matches(['-', ' '])
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start_matches([' ', '\t', '"', '\'', '\\']);
    let end = text.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
    &text[..end.unwrap_or(text.len())]
}

/// Where a credential begins that needs no name: behind `Bearer` and `Basic`, or a JWT.
fn credential(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let behind = |scheme: &str| {
        lower.match_indices(scheme).map(|(at, _)| at + scheme.len()).find(|at| {
            let begins = !lower[..at - scheme.len()].ends_with(|c: char| c.is_alphanumeric());
            begins && token_chars(&line[*at..]) >= CREDENTIAL_CHARS_MIN
        })
    };
    let jwt = || {
        let starts = line.match_indices("eyJ").map(|(at, _)| at);
        starts.into_iter().find(|at| token_chars(&line[*at..]) >= JWT_CHARS_MIN)
    };
    [behind("bearer "), behind("basic "), jwt()].into_iter().flatten().min()
}

fn token_chars(text: &str) -> usize {
    let part = |c: char| c.is_ascii_alphanumeric() || "+/=._~-${}:".contains(c);
    text.chars().take_while(|c| part(*c)).count()
}

/// Where the value of a flag begins that is not joined to it: `--token VALUE`.
fn flag(line: &str) -> Option<usize> {
    let ends = |c: char| c.is_whitespace() || "\"',;)]}".contains(c);
    let flags = line.match_indices('-').filter(|(at, _)| {
        line[..*at].chars().next_back().is_none_or(|c| c.is_whitespace() || "\"'[(,`".contains(c))
    });
    flags.into_iter().find_map(|(at, _)| {
        let word = &line[at..];
        let end = word.find(ends).unwrap_or(word.len());
        // A list's item is no flag.
        let is_flag = word.len() > 1 && !word[1..].starts_with(' ');
        (is_flag && !word[..end].contains(['=', ':']) && names_a_secret(&word[..end]))
            .then_some(at + end)
    })
}

/// A line without the userinfo and the query strings of its URLs, and without `user:password@`
/// where there is no scheme.
fn urls(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let ends = |c: char| c.is_whitespace() || "\"'`<>,;|".contains(c);
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(ends).unwrap_or(rest.len());
        url(&rest[..end], &mut masked);
        let between = rest[end..].find(|c| !ends(c)).map_or(rest.len(), |at| end + at);
        masked.push_str(&rest[end..between]);
        rest = &rest[between..];
    }
    masked
}

/// One word, which may be a URL.
fn url(word: &str, masked: &mut String) {
    let (scheme, rest) = match word.find("://") {
        Some(at) => word.split_at(at + 3),
        None => ("", word),
    };
    masked.push_str(scheme);
    let rest = match userinfo_end(scheme, rest) {
        Some(at) => {
            masked.push_str(REDACTED);
            &rest[at..]
        }
        None => rest,
    };
    match rest.find('?').filter(|_| !scheme.is_empty()) {
        Some(at) => {
            masked.push_str(&rest[..=at]);
            masked.push_str(REDACTED);
        }
        None => masked.push_str(rest),
    }
}

/// Where the `@` is behind a user and a password.
fn userinfo_end(scheme: &str, rest: &str) -> Option<usize> {
    let at = rest.rfind('@')?;
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    if scheme.is_empty() {
        return rest[..at].split_once(':').filter(|(user, _)| !user.is_empty()).map(|_| at);
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    // A password may have a slash in it, and then the host seems to end there.
    let odd = port.is_some_and(|port| !port.chars().all(|c| c.is_ascii_digit()));
    (authority.contains('@') || odd || rest.contains("://")).then_some(at)
}

//! Kubernetes label-selector grammar over labels and attributes:
//! `service.name=otelcol,env in (prod,staging),!canary`.
//!
//! As in Kubernetes, `!=` and `notin` also select agents that lack the key.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

mod parse;

pub use parse::ParseError;

/// Longest selector text taken, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Which agents. All its requirements must hold; an empty selector selects every agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    text: String,
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
}

/// What a selector looks at.
pub trait Labels {
    /// The value under a key, in text form; `None` if there is no such key.
    fn value(&self, key: &str) -> Option<Cow<'_, str>>;
}

impl Selector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let requirements = parse::requirements(text)?;
        Ok(Self { text: text.trim().to_owned(), requirements })
    }

    /// The text it was written as.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it selects this agent.
    pub fn matches(&self, agent: &impl Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(agent))
    }

    /// Whether some agent could be selected by both. Errs on the side of yes.
    pub fn may_overlap(&self, other: &Self) -> bool {
        let both = || self.requirements.iter().chain(&other.requirements);
        let keys: BTreeSet<&str> = both().map(|requirement| requirement.key.as_str()).collect();
        keys.into_iter().all(|key| {
            let tests = both().filter(|requirement| requirement.key == key);
            satisfiable(tests.map(|requirement| &requirement.test))
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Requirement {
    fn holds(&self, agent: &impl Labels) -> bool {
        let value = agent.value(&self.key);
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(set) => value.is_some_and(|value| set.contains(value.as_ref())),
            Test::NotIn(set) => value.is_none_or(|value| !set.contains(value.as_ref())),
        }
    }
}

/// Whether one key can pass all these tests.
fn satisfiable<'a>(tests: impl Iterator<Item = &'a Test>) -> bool {
    let (mut exists, mut absent) = (false, false);
    let mut allowed: Option<BTreeSet<&str>> = None;
    let mut denied: BTreeSet<&str> = BTreeSet::new();
    for test in tests {
        match test {
            Test::Exists => exists = true,
            Test::Absent => absent = true,
            Test::NotIn(set) => denied.extend(set.iter().map(String::as_str)),
            Test::In(set) => {
                exists = true;
                let set: BTreeSet<&str> = set.iter().map(String::as_str).collect();
                allowed = Some(match allowed {
                    Some(before) => &before & &set,
                    None => set,
                });
            }
        }
    }
    let none_left = allowed.is_some_and(|allowed| allowed.is_subset(&denied));
    !(none_left || exists && absent)
}

/// Checks that a selector can name this label: its key, and its value after an equals sign.
pub fn check_label(key: &str, value: &str) -> Result<(), String> {
    let exact = Selector::parse(&format!("{key}={value}")).ok().is_some_and(|selector| {
        let test = Test::In([value.to_owned()].into());
        matches!(&selector.requirements[..], [only] if only.key == key && only.test == test)
    });
    if exact {
        return Ok(());
    }
    Err(format!(
        "label {key:?} with value {value:?} could not be selected: use letters, digits and . _ - / \
         in keys, and no spaces, commas, parentheses, = or ! in values"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Labels for BTreeMap<&str, &str> {
        fn value(&self, key: &str) -> Option<Cow<'_, str>> {
            self.get(key).map(|value| Cow::Borrowed(*value))
        }
    }

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn grammar_of_kubernetes() {
        let agent = [("service.name", "otelcol"), ("env", "prod")];
        for yes in [
            "",
            "env=prod",
            "env == prod",
            " env in (prod, staging) ",
            "env notin (dev)",
            "canary notin (true)",
            "canary!=true",
            "env",
            "!canary",
            "service.name=otelcol,env in (prod,staging),!canary",
        ] {
            assert!(matches(yes, &agent), "{yes:?} should match");
        }
        for no in
            ["env=dev", "env!=prod", "env notin (prod)", "canary", "!env", "canary=", "a in (b)"]
        {
            assert!(!matches(no, &agent), "{no:?} should not match");
        }
        assert!(matches("note=", &[("note", "")]), "an empty value is a value");
    }

    #[test]
    fn overlap_is_ruled_out_only_by_contradiction() {
        let overlap = |a, b| Selector::parse(a).unwrap().may_overlap(&Selector::parse(b).unwrap());
        assert!(overlap("", "env=prod"));
        assert!(overlap("env=prod", "tier=web"));
        assert!(overlap("env in (a,b)", "env in (b,c)"));
        assert!(overlap("env!=prod", "!env"));
        assert!(!overlap("env=prod", "env=dev"));
        assert!(!overlap("env=prod", "env!=prod"));
        assert!(!overlap("env", "!env"));
        assert!(!overlap("env in (a,b)", "env notin (a,b,c)"));
    }
}

//! Kubernetes label-selector grammar over labels and attributes.

/// Which agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    text: String,
}

impl Selector {
    /// The text it was written as.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

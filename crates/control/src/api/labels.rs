//! Labels that somebody wants agents to have.

use std::collections::BTreeMap;

use model::selector;

use crate::{Error, Limits};

/// Whether an agent may be given these.
pub(crate) fn check(
    field: &'static str,
    labels: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<(), Error> {
    let (bytes, most) = (limits.label_bytes_max, limits.labels_max);
    if labels.len() > most {
        return Err(Error::invalid(field, format!("{} labels, at most {most}", labels.len())));
    }
    for (key, value) in labels {
        selector::check_label(key, value).map_err(|reason| Error::invalid(field, reason))?;
        if key.len() > bytes || value.len() > bytes {
            return Err(Error::invalid(field, format!("{key:?}: at most {bytes} bytes")));
        }
    }
    Ok(())
}

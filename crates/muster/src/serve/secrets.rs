//! The vault of a process: made from the keys that settings name, or from one of its own beside
//! an embedded store.

use std::sync::Arc;

use trust::Vault;

use super::seams::Seams;
use crate::config::Settings;
use crate::exit::Failure;

/// Name of the key in the data directory.
const FILE: &str = "secrets.key";

/// `named` is what settings name. Call it with the data directory there, and ours: a key may have
/// to be made in it.
pub(super) fn vault(
    named: Option<Vault>,
    settings: &Settings,
    seams: &Seams,
) -> anyhow::Result<Option<Arc<Vault>>> {
    let embedded = settings.roles.need_store() && settings.cluster.store.is_none();
    if named.is_some() || !embedded {
        return Ok(named.map(Arc::new));
    }
    let file = settings.data_dir.join(FILE);
    let made = Vault::read_or_make(&file, |bytes| seams.random.fill(bytes));
    Ok(Some(Arc::new(made.map_err(|error| Failure::usage(error.to_string()))?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, Role, ServeArgs};

    fn settings(layer: Layer) -> Settings {
        ServeArgs { config: None, layer }.resolve().unwrap()
    }

    #[test]
    fn an_embedded_store_has_a_key_of_its_own_unless_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let seams = Seams::of_this_machine();
        let data_dir = Some(dir.path().to_owned());
        let embedded = settings(Layer { data_dir: data_dir.clone(), ..Layer::default() });
        let named = Vault::from_key(&[1; 32]);
        let ids = |named, settings: &Settings| {
            vault(named, settings, &seams).unwrap().map(|vault| vault.ids())
        };
        let one = named.ids();
        assert_eq!(ids(Some(named), &embedded), Some(one));
        assert!(!dir.path().join(FILE).exists(), "not needed");
        let made = ids(None, &embedded);
        assert!(made.is_some() && made == ids(None, &embedded), "the same at the next start");
        let cluster = settings(Layer {
            data_dir,
            role: vec![Role::Control],
            bus: Some("nats://h".to_owned()),
            store: Some("redis://h".to_owned()),
            ..Layer::default()
        });
        assert_eq!(ids(None, &cluster), None, "processes of a cluster have to share it");
    }
}

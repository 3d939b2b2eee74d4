//! Table `components`: lists by their content, and what agents of a kind call them.

use bytes::Bytes;
use model::components::ListHash;
use opamp::Message as _;
use opamp::v1::AvailableComponents;

use super::{Loaded, corrupt, read, write};
use crate::{Error, Key, v1};

/// Newest format understood.
const FORMAT: u32 = 1;
/// Highest field numbers of `muster.state.v1.ComponentName` and `ComponentList`.
const NAME_FIELDS: u32 = 3;
const LIST_FIELDS: u32 = 2;

/// What agents of one kind say under a hash of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// The list that one of them said.
    pub list: ListHash,
    /// Another one said another list.
    pub disputed: bool,
}

/// The bytes of a name.
pub fn encode_name(named: &Named, unknown: &Bytes) -> Bytes {
    let list = named.list.0.to_vec();
    write(&v1::ComponentName { format: FORMAT, list, disputed: named.disputed }, unknown)
}

/// The name in these bytes.
pub fn decode_name(key: &Key, bytes: &Bytes) -> Result<Loaded<Named>, Error> {
    let (message, unknown) =
        read(key, bytes, NAME_FIELDS, |m: &v1::ComponentName| m.format, FORMAT)?;
    let list = ListHash::from_slice(&message.list);
    let list = list.ok_or_else(|| corrupt(key, &"the name of a list is 32 bytes"))?;
    Ok(Loaded { value: Named { list, disputed: message.disputed }, unknown })
}

/// The bytes of a list.
pub fn encode_list(list: &AvailableComponents, unknown: &Bytes) -> Bytes {
    let list = model::components::encode(list);
    write(&v1::ComponentList { format: FORMAT, list }, unknown)
}

/// The list in these bytes.
pub fn decode_list(key: &Key, bytes: &Bytes) -> Result<Loaded<AvailableComponents>, Error> {
    let (message, unknown) =
        read(key, bytes, LIST_FIELDS, |m: &v1::ComponentList| m.format, FORMAT)?;
    let value =
        AvailableComponents::decode(&message.list[..]).map_err(|error| corrupt(key, &error))?;
    Ok(Loaded { value, unknown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let components = [("receivers".to_owned(), Default::default())].into();
        let list = AvailableComponents { components, hash: Vec::new() };
        let named = Named { list: ListHash::of(&list), disputed: true };
        let key = Key::component_list(&named.list);
        let unknown = Bytes::from_static(&[0xa8, 0x06, 5]);
        let read = decode_list(&key, &encode_list(&list, &unknown)).unwrap();
        assert_eq!(read, Loaded { value: list, unknown: unknown.clone() });
        let key = Key::component_name(&[1; 32]);
        let read = decode_name(&key, &encode_name(&named, &unknown)).unwrap();
        assert_eq!(read, Loaded { value: named, unknown });
        assert!(decode_name(&key, &Bytes::from_static(b"nonsense")).is_err());
    }
}

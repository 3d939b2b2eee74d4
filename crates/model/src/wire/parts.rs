//! A message taken apart by the schema: which fields it does not know, and, where only the
//! beginning of a message is left, as much of it as makes a whole one.

use opamp::fields::{Piece, Value, pieces, write_bytes};

use super::Hidden;
use super::schema::Message;

/// Fields told of one message. More are nobody's reading.
const HIDDEN_MAX: usize = 64;
/// Levels that are looked into: as deep as the decoder goes.
const DEPTH_MAX: usize = 100;

/// What a message is made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// The whole message that is left of a truncated one.
    pub(super) whole: Option<Vec<u8>>,
    pub(super) hidden: Vec<Hidden>,
}

/// Takes a message apart.
pub(super) fn of(bytes: &[u8], truncated: bool, schema: &'static Message) -> Parts {
    let mut walk = Walk { hidden: Vec::new(), path: Vec::new() };
    let whole = walk.message(bytes, schema, truncated);
    Parts { whole, hidden: walk.hidden }
}

struct Walk {
    hidden: Vec<Hidden>,
    path: Vec<&'static str>,
}

impl Walk {
    /// Looks through a message. Of a truncated one it returns what is whole in it.
    fn message(
        &mut self,
        bytes: &[u8],
        schema: &'static Message,
        truncated: bool,
    ) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        for Piece { number, value, bytes } in pieces(bytes) {
            let field = schema.field(number);
            match (field, value) {
                (None, value) => self.hide(number, value.size(), false),
                (Some(field), Value::Cut { announced, left }) => {
                    self.path.push(field.name);
                    match field.inner.filter(|_| self.path.len() < DEPTH_MAX) {
                        Some(inner) => {
                            let left = self.message(left, inner, true).unwrap_or_default();
                            write_bytes(&mut whole, number, &left);
                        }
                        None => self.hide(number, announced, true),
                    }
                    self.path.pop();
                }
                (Some(field), value) => {
                    if let (Value::Bytes(content), Some(inner)) = (value, field.inner)
                        && self.path.len() < DEPTH_MAX
                    {
                        self.path.push(field.name);
                        self.message(content, inner, false);
                        self.path.pop();
                    }
                    if truncated {
                        whole.extend_from_slice(bytes);
                    }
                }
            }
        }
        truncated.then_some(whole)
    }

    fn hide(&mut self, number: u32, size_bytes: u64, cut: bool) {
        if self.hidden.len() < HIDDEN_MAX {
            let path = self.path.join(".");
            self.hidden.push(Hidden { path, number, size_bytes, cut });
        }
    }
}

//! One file per table: key, value, codec, format version.

//! What the compiler does not check: who may depend on whom, what may be depended on, and the
//! house's rules for files. Plain tests, so that `cargo test -p xtask` is all it takes.

mod depends;
mod files;
mod rules;

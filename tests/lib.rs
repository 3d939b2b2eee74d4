//! Tests that need whole processes. There is no library here: see `conformance/` (every rule of
//! OpAMP that Muster is held to, on both of its forms) and `cluster/` (what a cluster survives).

//! The bus of a cluster.

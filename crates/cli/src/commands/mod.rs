//! The subcommands, one file each.

pub(crate) mod bench;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod evaluate;
#[cfg(feature = "hub")]
pub(crate) mod hub;
pub(crate) mod methods;
pub(crate) mod mix;
pub(crate) mod parity;
pub(crate) mod train;

//! The controller's ConfigMap: from strings to settings, and nowhere else.

mod catalogue;

pub use catalogue::{KnownKey, configmap_key, configmap_keys};

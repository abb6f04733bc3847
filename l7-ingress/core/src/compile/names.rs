//! One copy of every string that many objects repeat, and the maps that are keyed by them.

use std::sync::Arc;

use foldhash::quality::FixedState;
use model::ObjectName;

/// A map whose lookups cost the same however large the cluster is. Not the standard library's, which cores may
/// not use because its order leaks into outputs: whoever iterates over one of these sorts what comes out.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// Shares strings among objects: namespaces, hosts, the names of Services and Secrets, fields.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Map<Arc<str>, ()>,
    /// How many there were after the last sweep.
    swept: usize,
}

impl Names {
    /// The shared copy of `text`.
    pub(crate) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some((known, ())) = self.known.get_key_value(text) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        self.known.insert(Arc::clone(&name), ());
        name
    }

    /// The same name, from shared parts.
    pub(crate) fn object(&mut self, name: &ObjectName) -> ObjectName {
        ObjectName {
            namespace: self.get(&name.namespace),
            name: self.get(&name.name),
        }
    }

    /// Forgets what nobody else holds, once as many strings came as there were: a constant cost per string.
    pub(crate) fn sweep(&mut self) {
        const LEAST: usize = 4096;
        if self.known.len() > LEAST + 2 * self.swept {
            self.known.retain(|name, ()| Arc::strong_count(name) > 1);
            self.swept = self.known.len();
        }
    }
}

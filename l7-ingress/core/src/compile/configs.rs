//! The ConfigMaps of the cluster, and the Ingresses that name them.

use model::ObjectName;

use super::names::Map;
use super::users::{IngressId, Users};
use crate::configmap::ConfigData;

/// The ConfigMaps of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Configs(Map<ObjectName, Config>);

#[derive(Debug, Default)]
struct Config {
    users: Users,
    data: Option<ConfigData>,
}

impl Configs {
    /// Takes a version in, or out; returns whether anything changed.
    pub(crate) fn set(&mut self, name: &ObjectName, data: Option<ConfigData>) -> bool {
        if data.is_none() && !self.0.contains_key(name) {
            return false;
        }
        let config = self.0.entry(name.clone()).or_default();
        let changed = config.data != data;
        config.data = data;
        self.sweep(name);
        changed
    }

    pub(crate) fn get(&self, name: &ObjectName) -> Option<&ConfigData> {
        self.0.get(name)?.data.as_ref()
    }

    pub(crate) fn add_user(&mut self, name: &ObjectName, id: IngressId) {
        self.0.entry(name.clone()).or_default().users.insert(id);
    }

    pub(crate) fn remove_user(&mut self, name: &ObjectName, id: IngressId) {
        if let Some(config) = self.0.get_mut(name) {
            config.users.remove(id);
            self.sweep(name);
        }
    }

    pub(crate) fn users(&self, name: &ObjectName) -> impl Iterator<Item = IngressId> {
        let config = self.0.get(name).into_iter();
        config.flat_map(|config| config.users.iter())
    }

    fn sweep(&mut self, name: &ObjectName) {
        let unused = |config: &Config| config.users.is_empty() && config.data.is_none();
        if self.0.get(name).is_some_and(unused) {
            self.0.remove(name);
        }
    }
}

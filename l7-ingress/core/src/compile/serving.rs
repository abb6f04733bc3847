//! Which version of each Ingress is served, and what a change of it touches.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{ObjectName, Severity};

use super::accept::{Accepted, accept, reread};
use super::ingresses::{CatchAllRank, Version};
use super::users::IngressId;
use super::{Compiler, Source};
use crate::Ingress;

impl Compiler {
    pub(super) fn ingress(&mut self, name: &ObjectName, ingress: Option<Ingress>) {
        let known = self.ingresses.id(name);
        let Some(ingress) = ingress else {
            if let Some(id) = known {
                self.serve(id, None);
                self.note(Source::Ingress(name.clone()), Vec::new());
                self.ingresses.remove(id);
            }
            return;
        };
        let id = known.unwrap_or_else(|| {
            let name = self.names.object(name);
            self.ingresses.add(name)
        });
        self.judge(id, ingress);
    }

    /// Decides whether a version is ours and good, and serves it if so.
    fn judge(&mut self, id: IngressId, ingress: Ingress) {
        let Some(entry) = self.ingresses.get(id) else {
            return;
        };
        if self.awaits_settings {
            self.keep(id, Version::Written(Box::new(ingress)));
            return;
        }
        let name = entry.name.clone();
        let owner = self
            .classes
            .owner(&self.settings, &name.namespace, &ingress.class);
        if !owner.is_ours() {
            self.serve(id, None);
            self.note(Source::Ingress(name), Vec::new());
            self.keep(id, Version::Written(Box::new(ingress)));
            return;
        }
        match accept(&name, &ingress, &self.settings, &mut self.names) {
            Ok(accepted) => {
                self.note(Source::Ingress(name), accepted.notes.to_vec());
                let same = self.ingresses.serving(id).filter(|now| ***now == accepted);
                let accepted = same.cloned().unwrap_or_else(|| Arc::new(accepted));
                self.keep(id, Version::Accepted(Arc::clone(&accepted)));
                self.serve(id, Some(accepted));
            }
            Err(mut problems) => {
                let instead = match self.ingresses.serving(id) {
                    Some(_) => "; the last good version goes on being served",
                    None => "; this Ingress is not served",
                };
                for problem in &mut problems {
                    if problem.severity == Severity::Error {
                        problem.message.push_str(instead);
                    }
                }
                self.note(Source::Ingress(name), problems);
                self.keep(id, Version::Written(Box::new(ingress)));
            }
        }
    }

    fn keep(&mut self, id: IngressId, version: Version) {
        if let Some(entry) = self.ingresses.get_mut(id) {
            entry.latest = version;
        }
    }

    /// Looks at every Ingress again: IngressClasses change rarely.
    pub(super) fn reclassify(&mut self) {
        for id in self.ingresses.ids().collect::<Vec<_>>() {
            let Some(entry) = self.ingresses.get_mut(id) else {
                continue;
            };
            match std::mem::replace(&mut entry.latest, Version::Unknown) {
                Version::Unknown => {}
                Version::Written(ingress) => self.judge(id, *ingress),
                Version::Accepted(accepted) => {
                    let namespace = &accepted.name.namespace;
                    let owner = self
                        .classes
                        .owner(&self.settings, namespace, &accepted.class);
                    let ours = owner.is_ours().then(|| Arc::clone(&accepted));
                    let notes = ours.iter().flat_map(|ours| ours.notes.to_vec()).collect();
                    self.note(Source::Ingress(accepted.name.clone()), notes);
                    self.serve(id, ours);
                    self.keep(id, Version::Accepted(accepted));
                }
            }
        }
    }

    /// Reads every Ingress again: what their annotations do not say has changed.
    pub(super) fn reread(&mut self) {
        for id in self.ingresses.ids().collect::<Vec<_>>() {
            if let Some(serving) = self.ingresses.serving(id).cloned() {
                self.reread_served(id, &serving);
            }
            let Some(entry) = self.ingresses.get_mut(id) else {
                continue;
            };
            // What was refused may be accepted now, and what is not served is read when it is.
            match std::mem::replace(&mut entry.latest, Version::Unknown) {
                Version::Written(ingress) => self.judge(id, *ingress),
                Version::Accepted(accepted) if entry.serving.is_none() => {
                    let read = reread(&accepted, &self.settings, &mut self.names);
                    self.keep(id, Version::Accepted(read.map_or(accepted, Arc::new)));
                }
                latest => self.keep(id, latest),
            }
        }
    }

    /// What is refused now keeps what its annotations said before.
    fn reread_served(&mut self, id: IngressId, serving: &Arc<Accepted>) {
        let name = serving.name.clone();
        match reread(serving, &self.settings, &mut self.names) {
            Ok(read) => {
                self.note(Source::Ingress(name), read.notes.to_vec());
                if read != **serving {
                    let read = Arc::new(read);
                    if let Some(entry) = self.ingresses.get_mut(id)
                        && matches!(entry.latest, Version::Accepted(_))
                    {
                        entry.latest = Version::Accepted(Arc::clone(&read));
                    }
                    self.serve(id, Some(read));
                }
            }
            Err(problems) => self.note(Source::Ingress(name), problems),
        }
    }

    /// Replaces the version that is served, and marks what it and the old one touch.
    fn serve(&mut self, id: IngressId, next: Option<Arc<Accepted>>) {
        let Some(entry) = self.ingresses.get_mut(id) else {
            return;
        };
        let unchanged = match (&entry.serving, &next) {
            (Some(now), Some(next)) => Arc::ptr_eq(now, next),
            (None, None) => true,
            _ => false,
        };
        if unchanged {
            return;
        }
        let last = std::mem::replace(&mut entry.serving, next.clone());
        // First in, then out: what both use is not let go in between.
        if let Some(next) = &next {
            self.enter(id, next);
        }
        if let Some(last) = &last {
            self.leave(id, last, next.as_deref());
        }
    }

    fn enter(&mut self, id: IngressId, next: &Accepted) {
        let namespace = &next.name.namespace;
        for host in next.hosts() {
            self.hosts.entry(Arc::clone(host)).or_default().insert(id);
            self.dirty.insert(Arc::clone(host));
        }
        for service in next.services() {
            self.services.add_user(&named(namespace, service), id);
        }
        for config in next.configs() {
            self.configs.add_user(config, id);
        }
        for (secret, wanted) in next.secrets() {
            self.secrets.add_user(&secret, wanted, id);
        }
        if let Some(rank) = catch_all_rank(next) {
            self.catch_alls.insert(rank, id);
            self.mark_catch_all(next);
        }
    }

    fn leave(&mut self, id: IngressId, last: &Accepted, next: Option<&Accepted>) {
        let namespace = &last.name.namespace;
        let hosts: BTreeSet<_> = next.iter().flat_map(|next| next.hosts()).collect();
        for host in last.hosts() {
            self.dirty.insert(Arc::clone(host));
            if !hosts.contains(host)
                && let Some(users) = self.hosts.get_mut(host)
            {
                users.remove(id);
                if users.is_empty() {
                    self.hosts.remove(host);
                }
            }
        }
        let services: BTreeSet<_> = next.iter().flat_map(|next| next.services()).collect();
        for service in last.services().filter(|name| !services.contains(name)) {
            self.services.remove_user(&named(namespace, service), id);
        }
        let configs: BTreeSet<_> = next.iter().flat_map(|next| next.configs()).collect();
        for config in last.configs().filter(|name| !configs.contains(name)) {
            self.configs.remove_user(config, id);
        }
        let secrets = next.iter().flat_map(|next| next.secrets());
        let secrets: BTreeSet<_> = secrets.map(|(name, _)| name).collect();
        for (secret, _) in last.secrets().filter(|(name, _)| !secrets.contains(name)) {
            self.secrets.remove_user(&secret, id);
        }
        let rank = catch_all_rank(last);
        if let Some(rank) = rank.filter(|rank| next.and_then(catch_all_rank).as_ref() != Some(rank))
        {
            self.mark_catch_all(last);
            self.catch_alls.remove(&rank);
        }
    }

    /// Marks the catch-all if `ingress` answers it, or loses it as one that is there for nothing else.
    fn mark_catch_all(&mut self, ingress: &Accepted) {
        let first = self.catch_alls.keys().next();
        if ingress.rules.is_empty() || first.is_some_and(|rank| rank.name == ingress.name) {
            self.dirty.insert(self.names.get(""));
        }
    }

    pub(super) fn mark(&mut self, id: IngressId) {
        let Some(accepted) = self.ingresses.serving(id).cloned() else {
            return;
        };
        self.dirty.extend(accepted.hosts().cloned());
        if accepted.default_backend.is_some() {
            self.mark_catch_all(&accepted);
        }
    }
}

fn named(namespace: &Arc<str>, name: &Arc<str>) -> ObjectName {
    ObjectName {
        namespace: Arc::clone(namespace),
        name: Arc::clone(name),
    }
}

fn catch_all_rank(ingress: &Accepted) -> Option<CatchAllRank> {
    ingress.default_backend.as_ref()?;
    if ingress.is_canary() {
        return None;
    }
    Some(CatchAllRank {
        has_rules: !ingress.rules.is_empty(),
        created: ingress.created,
        name: ingress.name.clone(),
    })
}

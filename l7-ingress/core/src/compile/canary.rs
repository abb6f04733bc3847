//! Gives routes their canaries: an Ingress with `canary` has no routes of its own.

use std::sync::Arc;

use model::Problem;

use super::accept::{Accepted, ServicePort};
use super::host::{DEFAULT_BACKEND, Scope, Subject};
use super::ingresses::{Ingresses, precedence};
use super::names::Map;
use super::users::Users;
use crate::Route;
use crate::upstream::Canary;

/// The canaries that speak of `pattern`, oldest first.
pub(super) fn of<'c>(
    hosts: &Map<Arc<str>, Users>,
    ingresses: &'c Ingresses,
    pattern: &str,
) -> Vec<&'c Arc<Accepted>> {
    let users = hosts.get(pattern).into_iter();
    let mut found: Vec<&Arc<Accepted>> = users
        .flat_map(Users::iter)
        .filter_map(|id| ingresses.serving(id))
        .filter(|ingress| ingress.is_canary())
        .collect();
    found.sort_unstable_by(|a, b| precedence((a.created, &a.name), (b.created, &b.name)));
    found
}

/// What a canary asks for.
struct Wish<'a> {
    ingress: &'a Arc<Accepted>,
    backend: &'a ServicePort,
    field: &'a str,
}

impl Scope<'_> {
    /// Gives `routes` of one host their canaries. `mains` are the Ingresses that they are of.
    pub(super) fn attach_canaries(
        &mut self,
        host: &str,
        canaries: &[&Arc<Accepted>],
        mains: &[&Arc<Accepted>],
        routes: &mut [&mut Route],
    ) {
        for ingress in canaries {
            if host.is_empty() {
                self.attach_everywhere(ingress, mains, routes);
            }
            for rule in ingress.rules_for(host) {
                for path in &rule.paths {
                    let field = path.field(rule);
                    let wish = Wish {
                        ingress,
                        backend: &path.backend,
                        field: &field,
                    };
                    let same = |route: &&mut &mut Route| {
                        is_main(route)
                            && route.path == path.path
                            && route.path_type == path.path_type
                    };
                    match routes.iter_mut().find(same) {
                        Some(route) => self.attach(&wish, mains, route),
                        None => self.orphan(
                            ingress,
                            &field,
                            &format!("{} {}", path.path_type, path.path),
                        ),
                    }
                }
            }
        }
    }

    /// What canaries say of a host that no other Ingress has.
    pub(super) fn orphans(mut self, subject: &Subject<'_>) -> Vec<Problem> {
        self.attach_canaries(subject.pattern, &subject.canaries, &[], &mut []);
        self.problems
    }

    /// A default backend is the canary of everything that no host matches.
    fn attach_everywhere(
        &mut self,
        ingress: &Arc<Accepted>,
        mains: &[&Arc<Accepted>],
        routes: &mut [&mut Route],
    ) {
        let Some(backend) = &ingress.default_backend else {
            return;
        };
        let wish = Wish {
            ingress,
            backend,
            field: DEFAULT_BACKEND,
        };
        let mut found = false;
        for route in routes.iter_mut().filter(|route| is_main(route)) {
            self.attach(&wish, mains, route);
            found = true;
        }
        if !found {
            self.orphan(ingress, DEFAULT_BACKEND, "requests that no host matches");
        }
    }

    fn attach(&mut self, wish: &Wish<'_>, mains: &[&Arc<Accepted>], route: &mut Route) {
        let ingress = wish.ingress;
        if let Some(first) = &route.canary {
            if first.ingress != ingress.name {
                let message = format!(
                    "Ingress {} is the canary of {} {} already",
                    first.ingress, route.path_type, route.path
                );
                self.warn(&ingress.name, wish.field.to_owned(), "Conflict", message);
            }
            return;
        }
        let own = &route.backend;
        let is_same = own.service.name == wish.backend.service
            && own.service.namespace == ingress.name.namespace
            && own.port == wish.backend.port;
        if is_same {
            let message = format!(
                "leads where Ingress {} leads already; there is nothing to choose",
                route.ingress
            );
            self.warn(&ingress.name, wish.field.to_owned(), "Conflict", message);
            return;
        }
        let Some(rules) = &ingress.annotations.canary else {
            return;
        };
        let main = mains.iter().find(|main| main.name == route.ingress);
        let main = main.copied().unwrap_or(ingress);
        let backend = self.spoken_to(main, ingress, wish.backend, wish.field);
        route.canary = Some(Box::new(Canary {
            ingress: ingress.name.clone(),
            field: self.names.get(wish.field),
            backend,
            rules: Arc::clone(rules),
            hash: ingress.annotations.policy.upstream.hash.clone(),
        }));
    }

    fn orphan(&mut self, ingress: &Accepted, field: &str, what: &str) {
        let message = format!("no other Ingress has {what}: this canary has no requests to take");
        self.warn(
            &ingress.name,
            field.to_owned(),
            "CanaryWithoutMain",
            message,
        );
    }
}

/// Whether an Ingress leads somewhere with it: what only redirects, and the controller's default backend, have no
/// canary.
fn is_main(route: &Route) -> bool {
    route.moved.is_none() && !route.field.is_empty()
}

//! Puts the backends of canary Ingresses beside the routes that they are meant for.

use std::sync::Arc;

use super::accept::{Accepted, AcceptedPath};
use super::host::{Rules, Scope};
use crate::filter::Policy;
use crate::upstream::{Alternative, Canary, CanaryBehavior};
use crate::{Backend, Route};

impl Scope<'_> {
    /// As in ingress-nginx, a canary stands beside the same path of the same kind on the same host, and there is one.
    pub(super) fn canary(&mut self, rules: &Rules<'_>, ingress: &Accepted, routes: &mut [Route]) {
        let Some(canary) = &ingress.annotations.canary else {
            return;
        };
        for rule in ingress.rules_for(rules.host) {
            for path in &rule.paths {
                let field = path.field(rule);
                match routes.iter_mut().find(|route| is_for(path, route)) {
                    Some(main) => self.put_beside(rules, (ingress, canary), (path, &field), main),
                    None => {
                        let message = format!(
                            "no Ingress without canary has {} {} on this host; it is left out",
                            path.path_type, path.path
                        );
                        self.warn(&ingress.name, field, "CanaryWithoutMain", message);
                    }
                }
            }
        }
    }

    fn put_beside(
        &mut self,
        rules: &Rules<'_>,
        (ingress, canary): (&Accepted, &Canary),
        (path, field): (&AcceptedPath, &str),
        main: &mut Route,
    ) {
        if main.canary.is_some() {
            let message = format!(
                "{} {} of Ingress {} has an older canary, which serves",
                path.path_type, path.path, main.ingress
            );
            self.warn(&ingress.name, field.to_owned(), "Conflict", message);
            return;
        }
        let mut mains = rules.ingresses.iter();
        let Some(owner) = mains.find(|owner| owner.name == main.ingress) else {
            return;
        };
        let backend = self.backend_of(ingress, owner, (&path.backend, field));
        main.canary = Some(Box::new(Alternative {
            canary: canary.clone(),
            route: Arc::new(beside(main, ingress, backend)),
        }));
    }
}

fn is_for(path: &AcceptedPath, route: &Route) -> bool {
    (&*path.path, path.path_type) == (&*route.path, route.path_type)
}

/// All is as the main Ingress has it but the choice of the endpoint.
fn beside(main: &Route, ingress: &Accepted, backend: Arc<Backend>) -> Route {
    let own = &ingress.annotations.policy.upstream;
    let mut policy = Policy::clone(&main.policy);
    let upstream = &mut policy.upstream;
    upstream.hash.clone_from(&own.hash);
    let shares = upstream.affinity.as_ref();
    if !shares.is_some_and(|affinity| affinity.canary == CanaryBehavior::Sticky) {
        upstream.affinity.clone_from(&own.affinity);
    }
    Route {
        backend,
        policy: Arc::new(policy),
        ..main.clone()
    }
}

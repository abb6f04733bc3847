//! Hosts whose TLS is ended by their endpoints.

use std::sync::Arc;

use super::host::{Rules, Scope, serves};
use crate::table::Passthrough;
use crate::{PathType, Route};

impl Scope<'_> {
    /// Where the TLS of a host goes: as in ingress-nginx, one Ingress that asks for it is enough, and the root path says
    /// where; but whose Ingress that path is has to be of the same namespace.
    pub(super) fn passthrough(
        &mut self,
        rules: &Rules<'_>,
        routes: &[Route],
    ) -> Option<Passthrough> {
        let mut root = None;
        let mut found = None;
        let ingresses = rules.ingresses.iter();
        for ingress in ingresses.filter(|ingress| serves(ingress, rules.host)) {
            let Some(wish) = ingress.annotations.passthrough else {
                continue;
            };
            let root = root.get_or_insert_with(|| root_of(routes));
            let fault = match root {
                _ if rules.host.is_empty() => "needs rules with a host",
                None => "needs a path / that leads to a Service",
                Some(root) if root.ingress.namespace != ingress.name.namespace => {
                    "the path / of the host is of another namespace"
                }
                Some(root) => {
                    found.get_or_insert_with(|| Passthrough {
                        backend: Arc::clone(&root.backend),
                        writes_proxy: wish.writes_proxy,
                    });
                    continue;
                }
            };
            let field = "metadata.annotations[ssl-passthrough]".to_owned();
            let message = match &**rules.host {
                "" => fault.to_owned(),
                host => format!("{fault}: the TLS of {host} is ended here"),
            };
            self.warn(&ingress.name, field, "InvalidAnnotation", message);
        }
        found
    }
}

fn root_of(routes: &[Route]) -> Option<&Route> {
    let roots = routes.iter().filter(|route| &*route.path == "/");
    roots.min_by_key(|route| route.path_type != PathType::Prefix)
}

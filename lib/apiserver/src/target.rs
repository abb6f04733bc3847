//! What a request's path names.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::{
    object::Key,
    registry::{Registry, ResourceType},
};

/// A resource, or one object of it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<ResourceType>,
    /// None for all namespaces and for cluster-scoped resources.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) part: Part,
}

/// Which part of the object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
}

impl Target {
    /// One object; a namespaced one without a namespace is in `default`.
    pub(crate) fn object(resource: Arc<ResourceType>, namespace: &str, name: &str) -> Self {
        let namespace = match (resource.namespaced, namespace) {
            (false, _) => None,
            (true, "") => Some("default".to_owned()),
            (true, namespace) => Some(namespace.to_owned()),
        };
        Self {
            resource,
            namespace,
            name: Some(name.to_owned()),
            part: Part::Main,
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(
            self.namespace.as_deref().unwrap_or_default(),
            self.name.as_deref().unwrap_or_default(),
        )
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Health,
    Version,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`
    Resources(String, String),
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`
    OpenApi(String, String),
    Resource(Target),
}

impl Route {
    /// Finds out what the path leads to, if to anything.
    pub(crate) fn find(path: &str, registry: &Registry) -> Option<Self> {
        let segments: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|it| percent_decode_str(it).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Some(match segments.as_slice() {
            ["healthz" | "readyz" | "livez", ..] => Self::Health,
            ["version"] => Self::Version,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["api", version] => Self::Resources(String::new(), (*version).to_owned()),
            ["apis", group, version] => Self::Resources((*group).to_owned(), (*version).to_owned()),
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v3", "api", version] => {
                Self::OpenApi(String::new(), (*version).to_owned())
            }
            ["openapi", "v3", "apis", group, version] => {
                Self::OpenApi((*group).to_owned(), (*version).to_owned())
            }
            ["api", version, rest @ ..] => Self::Resource(target(registry, "", version, rest)?),
            ["apis", group, version, rest @ ..] => {
                Self::Resource(target(registry, group, version, rest)?)
            }
            _ => return None,
        })
    }
}

fn target(registry: &Registry, group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    // `namespaces/NAME` and `namespaces/NAME/status` are the Namespace itself.
    let (namespace, rest) = match rest {
        ["namespaces", _] | ["namespaces", _, "status"] => (None, rest),
        ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
        rest => (None, rest),
    };
    let (plural, name, part) = match rest {
        [plural] => (plural, None, Part::Main),
        [plural, name] => (plural, Some((*name).to_owned()), Part::Main),
        [plural, name, "status"] => (plural, Some((*name).to_owned()), Part::Status),
        _ => return None,
    };
    let resource = Arc::clone(registry.by_plural(group, version, plural)?);
    let scoped = match resource.namespaced {
        // Without a namespace there is only the list of all namespaces.
        true => namespace.is_some() || name.is_none(),
        false => namespace.is_none(),
    };
    let served = part == Part::Main || resource.traits.status;
    (scoped && served).then_some(Target {
        resource,
        namespace,
        name,
        part,
    })
}

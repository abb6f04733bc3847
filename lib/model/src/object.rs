//! Names of Kubernetes objects.

use std::fmt;
use std::sync::Arc;

/// The kinds of objects that Penstock reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `v1` ConfigMap
    ConfigMap,
    /// `discovery.k8s.io/v1` EndpointSlice
    EndpointSlice,
    /// `networking.k8s.io/v1` Ingress
    Ingress,
    /// `networking.k8s.io/v1` IngressClass
    IngressClass,
    /// `v1` Namespace
    Namespace,
    /// `v1` Node
    Node,
    /// `v1` Pod
    Pod,
    /// `v1` Secret
    Secret,
    /// `v1` Service
    Service,
}

impl Kind {
    /// The kind as manifests spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::EndpointSlice => "EndpointSlice",
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
            Self::Service => "Service",
        }
    }

    /// The `apiVersion` under which the kind is read.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap
            | Self::Namespace
            | Self::Node
            | Self::Pod
            | Self::Secret
            | Self::Service => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Ingress | Self::IngressClass => "networking.k8s.io/v1",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of an object within its kind; the namespace is empty for cluster-scoped kinds.
///
/// Ordered by namespace, then name. Cloning is cheap: tables hold many copies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Namespace, or empty.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// Names the object `name` in `namespace`.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Reads `namespace/name`, or a bare `name` that lives in `default_namespace`.
    ///
    /// Returns `None` when a part is empty or there is more than one slash.
    #[must_use]
    pub fn parse(text: &str, default_namespace: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/').unwrap_or((default_namespace, text));
        (!namespace.is_empty() && !name.is_empty() && !name.contains('/'))
            .then(|| Self::new(namespace, name))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One object: its kind and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// What it is.
    pub kind: Kind,
    /// Which one it is.
    pub name: ObjectName,
}

impl ObjectRef {
    /// The object of that kind and name.
    #[must_use]
    pub const fn new(kind: Kind, name: ObjectName) -> Self {
        Self { kind, name }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_namespace() {
        assert_eq!(
            ObjectName::parse("a/b", "x"),
            Some(ObjectName::new("a", "b"))
        );
        assert_eq!(ObjectName::parse("b", "x"), Some(ObjectName::new("x", "b")));
        for bad in ["", "/", "a/", "/b", "a/b/c"] {
            assert_eq!(ObjectName::parse(bad, ""), None, "{bad:?}");
        }
    }

    #[test]
    fn objects_print_as_kubectl_users_write_them() {
        let ingress = ObjectRef::new(Kind::Ingress, ObjectName::new("shop", "web"));
        assert_eq!(ingress.to_string(), "Ingress shop/web");
        let class = ObjectRef::new(Kind::IngressClass, ObjectName::new("", "penstock"));
        assert_eq!(class.to_string(), "IngressClass penstock");
    }
}

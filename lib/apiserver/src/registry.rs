//! Which resource types are served: a built-in table and what CustomResourceDefinitions add.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, OnceLock},
};

use crate::{
    schema::{self, Schema},
    status::Details,
};

/// One served resource type: a group, a version and a plural name.
#[derive(Debug)]
pub(crate) struct ResourceType {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) traits: Traits,
    /// The collection that holds the objects; versions and aliases of one resource share it.
    pub(crate) storage: StorageId,
    /// `apiVersion` of what the collection holds.
    pub(crate) stored_as: String,
    /// Set for types that a CustomResourceDefinition declares.
    pub(crate) custom: Option<crate::crd::Custom>,
    /// Compiled when the first object is written.
    pub(crate) schema: OnceLock<Schema>,
}

/// How a type departs from the plain behaviour.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    /// Has a `status` subresource.
    pub(crate) status: bool,
    /// A new object keeps the status that its creator wrote.
    pub(crate) keeps_status: bool,
    /// Counts changes of its spec in `metadata.generation`.
    pub(crate) generation: bool,
    /// PUT to a name that does not exist creates the object.
    pub(crate) put_creates: bool,
    /// PUT must carry a `resourceVersion`.
    pub(crate) put_needs_version: bool,
}

/// Name of a collection in the store: `group/plural`.
pub(crate) type StorageId = Arc<str>;

impl ResourceType {
    /// `v1`, or `group/version`.
    pub(crate) fn api_version(&self) -> String {
        join(&self.group, &self.version)
    }

    /// `pods`, or `ingresses.networking.k8s.io`: how messages name a resource.
    pub(crate) fn qualified(&self) -> String {
        match self.group.is_empty() {
            true => self.plural.clone(),
            false => format!("{}.{}", self.plural, self.group),
        }
    }

    pub(crate) fn details(&self, name: &str) -> Details {
        Details {
            name: name.to_owned(),
            group: self.group.clone(),
            kind: self.plural.clone(),
            ..Details::default()
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| schema::compile(self))
    }

    /// True if this is the built-in type `group/plural`.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }
}

/// The types that are served at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    /// By group, version (most preferred first), plural.
    types: Vec<Arc<ResourceType>>,
}

impl Registry {
    pub(crate) fn builtin() -> Self {
        // Shared by all servers of the process, because compiled schemas are worth it.
        static TYPES: LazyLock<Vec<Arc<ResourceType>>> =
            LazyLock::new(|| BUILTIN.iter().map(|row| Arc::new(row.resource())).collect());
        Self {
            types: TYPES.clone(),
        }
    }

    /// The built-in types and these.
    pub(crate) fn with(custom: impl IntoIterator<Item = ResourceType>) -> Self {
        let mut registry = Self::builtin();
        registry.types.extend(custom.into_iter().map(Arc::new));
        registry
    }

    pub(crate) fn types(&self) -> &[Arc<ResourceType>] {
        &self.types
    }

    pub(crate) fn by_plural(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<ResourceType>> {
        self.types
            .iter()
            .find(|it| it.group == group && it.version == version && it.plural == plural)
    }

    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<ResourceType>> {
        let (group, version) = split(api_version);
        self.types
            .iter()
            .find(|it| it.group == group && it.version == version && it.kind == kind)
    }

    /// Groups with their versions, in the order of the table.
    pub(crate) fn groups(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for it in &self.types {
            let versions = groups.entry(&it.group).or_default();
            if !versions.contains(&it.version.as_str()) {
                versions.push(&it.version);
            }
        }
        groups
    }
}

/// Splits `apiVersion` into group and version; the core group is empty.
pub(crate) fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Joins group and version to an `apiVersion`.
pub(crate) fn join(group: &str, version: &str) -> String {
    match group.is_empty() {
        true => version.to_owned(),
        false => format!("{group}/{version}"),
    }
}

/// One built-in type.
struct Row {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static str,
    namespaced: bool,
    traits: Traits,
}

impl Row {
    fn resource(&self) -> ResourceType {
        // events.k8s.io/v1 is another view of the core Event.
        let stored_group = if self.plural == "events" {
            ""
        } else {
            self.group
        };
        ResourceType {
            group: self.group.to_owned(),
            version: "v1".to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.singular.to_owned(),
            short_names: match self.short {
                "" => Vec::new(),
                name => vec![name.to_owned()],
            },
            categories: match self.plural {
                "pods" | "services" | "deployments" | "daemonsets" => vec!["all".to_owned()],
                _ => Vec::new(),
            },
            namespaced: self.namespaced,
            traits: self.traits,
            storage: format!("{stored_group}/{}", self.plural).into(),
            stored_as: join(stored_group, "v1"),
            custom: None,
            schema: OnceLock::new(),
        }
    }
}

const fn row(
    group: &'static str,
    kind: &'static str,
    names: [&'static str; 3],
    namespaced: bool,
    traits: Traits,
) -> Row {
    let [plural, singular, short] = names;
    Row {
        group,
        kind,
        plural,
        singular,
        short,
        namespaced,
        traits,
    }
}

const PLAIN: Traits = Traits {
    status: false,
    keeps_status: false,
    generation: false,
    put_creates: false,
    put_needs_version: false,
};
const STATUS: Traits = Traits {
    status: true,
    ..PLAIN
};
const COUNTED: Traits = Traits {
    generation: true,
    ..PLAIN
};
const FULL: Traits = Traits {
    status: true,
    generation: true,
    ..PLAIN
};
const UPSERT: Traits = Traits {
    put_creates: true,
    ..PLAIN
};

/// The collection that holds CustomResourceDefinitions.
pub(crate) const CRDS: &str = "apiextensions.k8s.io/customresourcedefinitions";

const BUILTIN: &[Row] = &[
    row(
        "",
        "ConfigMap",
        ["configmaps", "configmap", "cm"],
        true,
        PLAIN,
    ),
    row(
        "",
        "Endpoints",
        ["endpoints", "endpoints", "ep"],
        true,
        UPSERT,
    ),
    row("", "Event", ["events", "event", "ev"], true, UPSERT),
    row(
        "",
        "Namespace",
        ["namespaces", "namespace", "ns"],
        false,
        STATUS,
    ),
    row(
        "",
        "Node",
        ["nodes", "node", "no"],
        false,
        Traits {
            keeps_status: true,
            ..STATUS
        },
    ),
    row("", "Pod", ["pods", "pod", "po"], true, STATUS),
    row("", "Secret", ["secrets", "secret", ""], true, PLAIN),
    row(
        "",
        "Service",
        ["services", "service", "svc"],
        true,
        Traits {
            put_creates: true,
            ..STATUS
        },
    ),
    row(
        "",
        "ServiceAccount",
        ["serviceaccounts", "serviceaccount", "sa"],
        true,
        PLAIN,
    ),
    row(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        [
            "customresourcedefinitions",
            "customresourcedefinition",
            "crd",
        ],
        false,
        FULL,
    ),
    row(
        "apps",
        "DaemonSet",
        ["daemonsets", "daemonset", "ds"],
        true,
        FULL,
    ),
    row(
        "apps",
        "Deployment",
        ["deployments", "deployment", "deploy"],
        true,
        FULL,
    ),
    row(
        "coordination.k8s.io",
        "Lease",
        ["leases", "lease", ""],
        true,
        Traits {
            put_creates: true,
            put_needs_version: true,
            ..PLAIN
        },
    ),
    row(
        "discovery.k8s.io",
        "EndpointSlice",
        ["endpointslices", "endpointslice", ""],
        true,
        COUNTED,
    ),
    row(
        "events.k8s.io",
        "Event",
        ["events", "event", "ev"],
        true,
        UPSERT,
    ),
    row(
        "networking.k8s.io",
        "Ingress",
        ["ingresses", "ingress", "ing"],
        true,
        FULL,
    ),
    row(
        "networking.k8s.io",
        "IngressClass",
        ["ingressclasses", "ingressclass", ""],
        false,
        COUNTED,
    ),
    row(
        "networking.k8s.io",
        "NetworkPolicy",
        ["networkpolicies", "networkpolicy", "netpol"],
        true,
        COUNTED,
    ),
];

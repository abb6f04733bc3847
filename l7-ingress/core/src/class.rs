//! Whose Ingress it is: IngressClasses, the annotation that came before them, and the default class.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1 as networking_v1;

use crate::Settings;

/// What is kept of a `networking.k8s.io/v1` IngressClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressClass {
    /// `spec.controller`
    pub controller: Box<str>,
    /// Whether Ingresses that name no class belong to this one.
    pub is_default: bool,
}

impl IngressClass {
    const DEFAULT_ANNOTATION: &'static str = "ingressclass.kubernetes.io/is-default-class";

    /// Reads a class.
    #[must_use]
    pub fn read(object: &networking_v1::IngressClass) -> Self {
        let spec = object.spec.as_ref();
        let annotations = object.metadata.annotations.as_ref();
        Self {
            controller: spec
                .and_then(|spec| spec.controller.as_deref())
                .unwrap_or_default()
                .into(),
            is_default: annotations
                .and_then(|annotations| annotations.get(Self::DEFAULT_ANNOTATION))
                .is_some_and(|value| value == "true"),
        }
    }
}

/// How an Ingress names its class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassRef {
    /// `spec.ingressClassName`
    pub(crate) name: Option<Box<str>>,
    /// The annotation `kubernetes.io/ingress.class`.
    pub(crate) annotation: Option<Box<str>>,
}

/// The annotation that named the class before `spec.ingressClassName` did.
pub(crate) const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Why an Ingress is ours, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// `spec.ingressClassName` names a class of ours.
    ByName,
    /// The annotation has our value.
    ByAnnotation,
    /// It names no class and a class of ours is the default.
    ByDefault,
    /// It names no class and those are served too.
    WithoutClass,
    /// It lives in a namespace that is not watched.
    ForeignNamespace,
    /// It names a class that does not exist.
    UnknownClass,
    /// It names a class of another controller.
    ForeignClass,
    /// Its annotation has another value.
    ForeignAnnotation,
    /// It names no class, and none of ours is the default.
    NoClass,
}

impl Ownership {
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::ByName | Self::ByAnnotation | Self::ByDefault | Self::WithoutClass => true,
            Self::ForeignNamespace
            | Self::UnknownClass
            | Self::ForeignClass
            | Self::ForeignAnnotation
            | Self::NoClass => false,
        }
    }
}

impl std::fmt::Display for Ownership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ByName => "its class is served here",
            Self::ByAnnotation => "its class annotation is served here",
            Self::ByDefault => "it names no class, and the default class is served here",
            Self::WithoutClass => "it names no class, and such Ingresses are served here",
            Self::ForeignNamespace => "its namespace is not watched",
            Self::UnknownClass => "its IngressClass does not exist",
            Self::ForeignClass => "its IngressClass belongs to another controller",
            Self::ForeignAnnotation => "its class annotation belongs to another controller",
            Self::NoClass => "it names no class, and no class served here is the default",
        })
    }
}

/// The IngressClasses of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Classes(BTreeMap<Box<str>, IngressClass>);

impl Classes {
    /// Takes a class in, or out; returns whether anything changed.
    pub(crate) fn set(&mut self, name: &str, class: Option<IngressClass>) -> bool {
        match class {
            Some(class) if self.0.get(name) == Some(&class) => false,
            Some(class) => {
                self.0.insert(name.into(), class);
                true
            }
            None => self.0.remove(name).is_some(),
        }
    }

    /// Whose an Ingress is: its class by name, else by annotation, else the default class.
    ///
    /// Where both a name and an annotation are set the name decides. An empty annotation is accepted, as
    /// ingress-nginx accepts it.
    pub(crate) fn owner(
        &self,
        settings: &Settings,
        namespace: &str,
        class: &ClassRef,
    ) -> Ownership {
        if !settings.watch_namespaces.is_empty() && !settings.watch_namespaces.contains(namespace) {
            return Ownership::ForeignNamespace;
        }
        if let Some(name) = &class.name {
            return match self.0.get(name) {
                Some(class) if is_ours(settings, name, class) => Ownership::ByName,
                Some(_) => Ownership::ForeignClass,
                None => Ownership::UnknownClass,
            };
        }
        if let Some(annotation) = &class.annotation {
            return match &settings.ingress_class {
                Some(_) if annotation.is_empty() => Ownership::ByAnnotation,
                Some(value) if value == annotation => Ownership::ByAnnotation,
                _ => Ownership::ForeignAnnotation,
            };
        }
        let mut classes = self.0.iter();
        if classes.any(|(name, class)| class.is_default && is_ours(settings, name, class)) {
            Ownership::ByDefault
        } else if settings.watch_without_class {
            Ownership::WithoutClass
        } else {
            Ownership::NoClass
        }
    }
}

fn is_ours(settings: &Settings, name: &str, class: &IngressClass) -> bool {
    let by_name = settings.ingress_class_by_name && settings.ingress_class.as_deref() == Some(name);
    by_name || settings.controller_classes.contains(&class.controller)
}

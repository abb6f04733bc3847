//! Lists: which version they show, in which pages, and how they are sent.

use std::{sync::Arc, vec};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use jiff::Timestamp;

use crate::{
    convert,
    object::{Key, Object},
    query::Query,
    registry::ResourceType,
    render::{Chunk, Form, ListMeta, metadata_only},
    reply::{self, BoxBody, Closed},
    selector::Selection,
    server::ApiServer,
    status::{Cause, Details, Status},
    store::{Snapshot, TooOld},
    table,
    target::Target,
};

/// The parameters of a list.
#[derive(Debug)]
pub(crate) struct ListOptions {
    pub(crate) selection: Selection,
    limit: Option<usize>,
    /// Page to go on with.
    token: Option<Token>,
    version: Version,
}

/// Which state of the collection a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Newest,
    NotOlderThan(u64),
    Exactly(u64),
}

/// A `continue` token: the state that the first page showed, and the last key of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    version: u64,
    after: Key,
}

impl ListOptions {
    pub(crate) fn parse(target: &Target, query: &Query) -> Result<Self, Status> {
        let selection = Selection::parse(
            &target.resource,
            query.get("labelSelector"),
            query.get("fieldSelector"),
        )?;
        let token = query.get("continue").map(Token::parse).transpose()?;
        if query.get("sendInitialEvents").is_some() {
            return Err(invalid_options(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
        }
        let limit = query.number("limit")?.unwrap_or(0);
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let version = Version::parse(query, token.is_some(), limit.is_some())?;
        Ok(Self {
            selection,
            limit,
            token,
            version,
        })
    }
}

impl Version {
    fn parse(query: &Query, continued: bool, paged: bool) -> Result<Self, Status> {
        let version = version_parameter(query)?;
        let matching = query.get("resourceVersionMatch");
        if continued {
            return match (version, matching) {
                (None | Some(0), None) => Ok(Self::Newest),
                (_, Some(_)) => Err(invalid_options(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                )),
                _ => Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                )),
            };
        }
        match (matching, version) {
            (None, None) => Ok(Self::Newest),
            (Some(_), None) => Err(invalid_options(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            )),
            (Some("Exact"), Some(0)) => Err(invalid_options(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            )),
            (Some("Exact"), Some(version)) => Ok(Self::Exactly(version)),
            // A page of an old list is a page of exactly that list.
            (None, Some(version)) if paged && version > 0 => Ok(Self::Exactly(version)),
            (None | Some("NotOlderThan"), Some(version)) => Ok(Self::NotOlderThan(version)),
            (Some(other), Some(_)) => {
                let cause = Cause::unsupported(
                    "resourceVersionMatch",
                    other,
                    &["Exact", "NotOlderThan", ""],
                );
                Err(options_status("ListOptions", cause))
            }
        }
    }
}

/// The `resourceVersion` parameter; what is no number is refused.
pub(crate) fn version_parameter(query: &Query) -> Result<Option<u64>, Status> {
    let Some(text) = query.get("resourceVersion") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Status::bad_request(format!("invalid resource version: Invalid value: {text:?}"))
    })
}

/// 422 about a list option that may not be used so.
pub(crate) fn invalid_options(field: &str, why: &str) -> Status {
    options_status("ListOptions", Cause::forbidden(field, why))
}

/// 422 about the parameters of a request.
pub(crate) fn options_status(kind: &str, cause: Cause) -> Status {
    let message = format!(
        "{kind}.meta.k8s.io \"\" is invalid: {}: {}",
        cause.field, cause.message
    );
    let details = Details {
        group: "meta.k8s.io".to_owned(),
        kind: kind.to_owned(),
        causes: vec![cause],
        ..Details::default()
    };
    Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(details)
}

impl Token {
    fn parse(text: &str) -> Result<Self, Status> {
        let fault =
            || Status::bad_request("continue key is not valid: the token is not one of ours");
        let mut parts = text.splitn(4, ':');
        let (Some("v1"), Some(version), Some(namespace), Some(name)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(fault());
        };
        let version = version.parse().map_err(|_| fault())?;
        Ok(Self {
            version,
            after: Key::new(namespace, name),
        })
    }

    fn write(version: u64, after: &Key) -> String {
        // Namespaces hold no colon; names may, and are last.
        format!("v1:{version}:{}:{}", after.namespace, after.name)
    }
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) meta: ListMeta,
}

impl ApiServer {
    /// Selects a page.
    pub(crate) fn page(&self, target: &Target, options: &ListOptions) -> Result<Page, Status> {
        let Snapshot {
            version,
            mut objects,
        } = self.snapshot(target, options)?;
        if !options.selection.is_everything() {
            objects.retain(|object| options.selection.matches(object));
        }
        let limit = options
            .limit
            .map(|limit| limit.min(self.options().page_size));
        let mut meta = ListMeta {
            version,
            ..ListMeta::default()
        };
        if let Some(limit) = limit
            && objects.len() > limit
        {
            // How many remain is not known to a server that selects while it reads.
            meta.remaining = options
                .selection
                .is_everything()
                .then_some(objects.len() - limit);
            objects.truncate(limit);
            meta.next = objects.last().map(|last| Token::write(version, &last.key));
        }
        Ok(Page { objects, meta })
    }

    fn snapshot(&self, target: &Target, options: &ListOptions) -> Result<Snapshot, Status> {
        let storage = &target.resource.storage;
        let namespace = target.namespace.as_deref();
        let (version, after) = match (&options.token, options.version) {
            (Some(token), _) => (token.version, Some(&token.after)),
            (None, Version::Exactly(version)) => (version, None),
            (None, Version::NotOlderThan(version)) => {
                self.must_have_reached(version)?;
                return Ok(self.store().list(storage, namespace));
            }
            (None, Version::Newest) => return Ok(self.store().list(storage, namespace)),
        };
        self.must_have_reached(version)?;
        self.store()
            .list_at(storage, namespace, version, after)
            .map_err(|error| too_old(error, version))
    }

    /// A version of the future is refused: it cannot be waited for on one machine.
    pub(crate) fn must_have_reached(&self, version: u64) -> Result<(), Status> {
        let current = self.store().version();
        if version <= current {
            return Ok(());
        }
        let message = format!("Too large resource version: {version}, current: {current}");
        let cause = Cause {
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        Err(
            Status::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).about(Details {
                causes: vec![cause],
                retry_after_seconds: Some(1),
                ..Details::default()
            }),
        )
    }
}

/// 410 for a version that the history has forgotten.
pub(crate) fn too_old(error: TooOld, version: u64) -> Status {
    Status::expired(format!(
        "too old resource version: {version} ({})",
        error.oldest
    ))
}

/// The answer to a list request.
pub(crate) fn answer(
    resource: &Arc<ResourceType>,
    page: Page,
    form: Form,
    now: Timestamp,
) -> Response<BoxBody> {
    match form {
        Form::Table(include) => {
            let mut rows = table::of(resource, &page.objects, include, now);
            rows["metadata"] = page.meta.to_json();
            reply::json(StatusCode::OK, &rows)
        }
        Form::Whole => {
            let kind = format!("{}List", resource.kind);
            items(
                &kind,
                &resource.api_version(),
                page,
                Arc::clone(resource),
                convert::json,
            )
        }
        Form::Metadata => {
            let kind = "PartialObjectMetadataList";
            items(
                kind,
                "meta.k8s.io/v1",
                page,
                Arc::clone(resource),
                |_, object| metadata_only(&object.value()).to_string().into(),
            )
        }
    }
}

/// Sends a list in chunks, so that a long one is not built twice.
fn items(
    kind: &str,
    api_version: &str,
    page: Page,
    resource: Arc<ResourceType>,
    render: fn(&ResourceType, &Object) -> Bytes,
) -> Response<BoxBody> {
    let mut head = Chunk::new();
    let start = format!(
        "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{},\"items\":[",
        page.meta.to_json()
    );
    head.push(start.as_bytes());
    let rest = Some((head, page.objects.into_iter()));
    reply::stream(stream::unfold((rest, true), move |(rest, first)| {
        let next = rest.map(|rest| next_chunk(rest, first, &resource, render));
        std::future::ready(next.map(|(chunk, rest)| (Ok::<_, Closed>(chunk), (rest, false))))
    }))
}

type Rest = (Chunk, vec::IntoIter<Arc<Object>>);

/// Fills one chunk; the rest is none if that was the last one.
fn next_chunk(
    (mut chunk, mut objects): Rest,
    mut first: bool,
    resource: &ResourceType,
    render: fn(&ResourceType, &Object) -> Bytes,
) -> (Bytes, Option<Rest>) {
    while !chunk.is_full() {
        let Some(object) = objects.next() else {
            chunk.push(b"]}");
            return (chunk.take(), None);
        };
        if !std::mem::take(&mut first) {
            chunk.push(b",");
        }
        chunk.push(&render(resource, &object));
    }
    (chunk.take(), Some((chunk, objects)))
}

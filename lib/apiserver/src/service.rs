//! The API as a `tower::Service`: from an HTTP request to the operation that it asks for.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use serde_json::{Value, json};

use crate::{
    body, discovery,
    faults::{Suffering, Verb},
    list::{self, ListOptions},
    openapi,
    patch::{self, Patch},
    query::Query,
    render::Form,
    reply::{self, BoxBody, Closed},
    server::ApiServer,
    status::Status,
    target::{Part, Route, Target},
    upsert,
    watch::WatchOptions,
    write::{Effect, Manager, Proposal, Validation, WriteOptions, Written},
};

/// Answers requests to an [`ApiServer`].
#[derive(Clone, Debug)]
pub struct ApiService {
    server: ApiServer,
}

impl ApiService {
    pub(crate) fn new(server: ApiServer) -> Self {
        Self { server }
    }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<tower::BoxError>,
{
    type Response = Response<BoxBody>;
    type Error = Closed;
    type Future = BoxFuture<'static, Result<Response<BoxBody>, Closed>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.server.clone();
        async move {
            let (head, body) = request.into_parts();
            let limit = server.options().body_size;
            match respond(&server, &head, body::read(body, limit)).await {
                Ok(response) => Ok(response),
                Err(Failure::Refused(status)) => Ok(reply::refusal(&status)),
                Err(Failure::Closed) => Err(Closed),
            }
        }
        .boxed()
    }
}

/// Why there is no answer of the kind that was asked for.
enum Failure {
    Refused(Status),
    Closed,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

async fn respond(
    server: &ApiServer,
    head: &Parts,
    body: impl Future<Output = Result<Bytes, Status>>,
) -> Result<Response<BoxBody>, Failure> {
    let registry = server.registry();
    let route = Route::find(head.uri.path(), &registry).ok_or_else(Status::path_not_found)?;
    let query = Query::parse(head.uri.query());
    let target = match route {
        Route::Resource(target) => target,
        route => return Ok(document(server, &route, head)?),
    };
    let verb = verb(&head.method, &target, &query)?;
    let suffering = server.faults().strike(verb, &target.resource.plural);
    if suffering.delay > Duration::ZERO {
        tokio::time::sleep(suffering.delay).await;
    }
    if suffering.close {
        return Err(Failure::Closed);
    }
    if let Some(status) = suffering.refuse {
        return Err(status.into());
    }
    let form = form(&head.headers, &query)?;
    let response = match verb {
        Verb::Get | Verb::List | Verb::Watch => {
            read(server, (verb, &target), &query, form, suffering)?
        }
        verb => write(server, (verb, &target), (head, &query), &body.await?, form)?,
    };
    Ok(response)
}

fn form(headers: &HeaderMap, query: &Query) -> Result<Form, Status> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    Form::negotiate(accept, query.get("includeObject"))
}

fn verb(method: &Method, target: &Target, query: &Query) -> Result<Verb, Status> {
    let named = target.name.is_some();
    let verb = match (method.as_str(), named) {
        ("GET", _) if query.flag("watch") => Verb::Watch,
        ("GET", true) => Verb::Get,
        ("GET", false) => Verb::List,
        ("POST", false) => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) if target.part == Part::Main => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return Err(Status::method_not_allowed()),
    };
    let writes_all = matches!(verb, Verb::Create | Verb::DeleteCollection);
    if writes_all && target.resource.namespaced && target.namespace.is_none() {
        return Err(Status::method_not_allowed());
    }
    Ok(verb)
}

/// What is neither an object nor a list of them.
fn document(server: &ApiServer, route: &Route, head: &Parts) -> Result<Response<BoxBody>, Status> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let accept = head
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let accept = accept.unwrap_or_default();
    match route {
        Route::OpenApiV2 | Route::OpenApiIndex | Route::OpenApi(..) => {
            openapi::answer(&server.registry(), route, accept)
        }
        route => discovery::answer(&server.registry(), route, accept),
    }
}

fn read(
    server: &ApiServer,
    (verb, target): (Verb, &Target),
    query: &Query,
    form: Form,
    suffering: Suffering,
) -> Result<Response<BoxBody>, Status> {
    match verb {
        Verb::Watch => {
            let options = WatchOptions::parse(target, query)?;
            Ok(reply::stream(
                server.watch(target, options, form, suffering),
            ))
        }
        Verb::List => {
            let page = server.page(target, &ListOptions::parse(target, query)?)?;
            Ok(list::answer(&target.resource, page, form, server.time()))
        }
        _ => {
            if let Some(version) = list::version_parameter(query)? {
                server.must_have_reached(version)?;
            }
            let object = server.require(target)?;
            Ok(reply::full(
                StatusCode::OK,
                reply::JSON,
                form.object(&target.resource, &object, server.time()),
            ))
        }
    }
}

fn write(
    server: &ApiServer,
    (verb, target): (Verb, &Target),
    (head, query): (&Parts, &Query),
    body: &[u8],
    form: Form,
) -> Result<Response<BoxBody>, Status> {
    let options = write_options(head, query)?;
    let kind = body::media_type(&head.headers);
    let written = match verb {
        Verb::Create => server.create(target, body::object(&kind, body)?, &options)?,
        Verb::Update => update(server, target, body::object(&kind, body)?, &options)?,
        Verb::Patch => {
            let patch = Patch::decode(&kind, body)?;
            patched(server, target, patch, (query, &options))?
        }
        Verb::Delete => {
            let asked = delete_options(&kind, body)?;
            let options = with_dry_run(options, &asked)?;
            let written = server.remove(target, &asked, &options)?;
            if written.effect == Effect::Removed {
                return Ok(reply::json(StatusCode::OK, &removed(target, &written)));
            }
            written
        }
        _ => {
            let asked = delete_options(&kind, body)?;
            let options = with_dry_run(options, &asked)?;
            return delete_collection(server, target, query, (&asked, &options, form));
        }
    };
    let code = match written.effect {
        Effect::Created => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let json = form.object(&target.resource, &written.object, server.time());
    Ok(reply::warn(
        reply::full(code, reply::JSON, json),
        &written.warnings,
    ))
}

fn write_options(head: &Parts, query: &Query) -> Result<WriteOptions, Status> {
    let agent = head
        .headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let manager = match (query.get("fieldManager"), agent) {
        (Some(manager), _) if manager.len() > 128 => {
            return Err(Status::bad_request(
                "fieldManager: Too long: may not be more than 128 bytes",
            ));
        }
        (Some(manager), _) => Manager(manager.to_owned()),
        (None, Some(agent)) => Manager(agent.split('/').next().unwrap_or_default().to_owned()),
        (None, None) => Manager::unnamed(),
    };
    let validation = match query.get("fieldValidation") {
        None | Some("Warn") => Validation::Warn,
        Some("Ignore") => Validation::Ignore,
        Some("Strict") => Validation::Strict,
        Some(other) => {
            return Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \
                 \"Warn\", \"Strict\""
            )));
        }
    };
    let dry_run = dry_run(query.get("dryRun"))?;
    Ok(WriteOptions {
        manager,
        dry_run,
        validation,
    })
}

fn dry_run(asked: Option<&str>) -> Result<bool, Status> {
    match asked {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => Err(Status::bad_request(format!(
            "dryRun: Unsupported value: {other:?}: supported values: \"All\""
        ))),
    }
}

fn update(
    server: &ApiServer,
    target: &Target,
    object: Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let traits = target.resource.traits;
    let version = crate::object::metadata_text(&object, "resourceVersion");
    let exists = server.require(target);
    if let (Err(_), true, Part::Main, "") = (&exists, traits.put_creates, target.part, version) {
        return server.create(target, object, options);
    }
    exists?;
    if traits.put_needs_version && version.is_empty() {
        let why = "must be specified for an update";
        let cause = crate::status::Cause::invalid("metadata.resourceVersion", 0, why);
        return Err(Status::invalid(
            &target.resource,
            target.name(),
            vec![cause],
        ));
    }
    server.modify(target, options, |_, _| Ok(Proposal::from(object.clone())))
}

fn patched(
    server: &ApiServer,
    target: &Target,
    patch: Patch,
    (query, options): (&Query, &WriteOptions),
) -> Result<Written, Status> {
    match patch {
        Patch::Json(patch) => server.modify(target, options, |old, _| {
            Ok(patch::json(&patch, old)?.into())
        }),
        Patch::Merge(patch) => server.modify(target, options, |old, _| {
            let mut new = old.clone();
            patch::merge(&mut new, patch.clone());
            Ok(new.into())
        }),
        Patch::Strategic(patch) => {
            patch::check_strategic(&target.resource)?;
            server.modify(target, options, |old, _| {
                Ok(patch::strategic(target.resource.schema(), old, &patch)?.into())
            })
        }
        Patch::Apply(document) => {
            upsert::check_manager(query.get("fieldManager").is_some())?;
            upsert::apply(server, target, document, query.flag("force"), options)
        }
    }
}

fn delete_options(kind: &str, body: &[u8]) -> Result<Value, Status> {
    match body {
        [] => Ok(Value::Null),
        body => body::object(kind, body),
    }
}

fn with_dry_run(mut options: WriteOptions, asked: &Value) -> Result<WriteOptions, Status> {
    for it in asked["dryRun"].as_array().into_iter().flatten() {
        options.dry_run |= dry_run(it.as_str())?;
    }
    Ok(options)
}

/// What is said of an object that is gone.
fn removed(target: &Target, written: &Written) -> Value {
    let object = written.object.value();
    let mut details = json!({
        "name": target.name(),
        "kind": target.resource.plural,
        "uid": object["metadata"]["uid"],
    });
    if !target.resource.group.is_empty() {
        details["group"] = target.resource.group.as_str().into();
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    })
}

fn delete_collection(
    server: &ApiServer,
    target: &Target,
    query: &Query,
    (asked, options, form): (&Value, &WriteOptions, Form),
) -> Result<Response<BoxBody>, Status> {
    let page = server.page(target, &ListOptions::parse(target, query)?)?;
    for object in &page.objects {
        let key = &object.key;
        let one = Target::object(target.resource.clone(), &key.namespace, &key.name);
        match server.remove(&one, asked, options) {
            Err(status) if status.code != 404 => return Err(status),
            // Somebody else was faster.
            _ => {}
        }
    }
    Ok(list::answer(&target.resource, page, form, server.time()))
}

//! An API that gives prepared answers: for what the embedded API would never say.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;

/// Answers in order; when there are no more, none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    answers: VecDeque<(u16, String)>,
    repeat: Option<(u16, String)>,
    asked: Vec<String>,
}

impl Script {
    pub(crate) fn new(answers: &[(u16, String)]) -> Self {
        let script = Self::default();
        script.0.lock().unwrap().answers = answers.iter().cloned().collect();
        script
    }

    /// What is answered when there are no more answers.
    pub(crate) fn then_always(self, status: u16, body: &str) -> Self {
        self.0.lock().unwrap().repeat = Some((status, body.to_owned()));
        self
    }

    /// Paths and queries of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    pub(crate) fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = script.answer(request.uri().to_string());
            async move {
                let Some((status, body)) = answer else {
                    return std::future::pending().await;
                };
                let mut response = Response::new(Body::from(body.into_bytes()));
                *response.status_mut() = status.try_into().unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, asked: String) -> Option<(u16, String)> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(asked);
        state.answers.pop_front().or_else(|| state.repeat.clone())
    }
}

/// A list of objects that are given as JSON.
pub(crate) fn list(version: u32, token: &str, items: &[&str]) -> (u16, String) {
    let items = items.join(",");
    let body = format!(
        r#"{{"kind":"ConfigMapList","apiVersion":"v1","items":[{items}],"metadata":{{"resourceVersion":"{version}","continue":"{token}"}}}}"#
    );
    (200, body)
}

/// A watch that sends these lines and ends.
pub(crate) fn events(lines: &[&str]) -> (u16, String) {
    (200, lines.iter().map(|line| format!("{line}\n")).collect())
}

pub(crate) fn failure(code: u16) -> (u16, String) {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"X","code":{code}}}"#
    );
    (code, body)
}

//! Turns faults into replies: the one place where the proxy answers for itself.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use l7_ingress_core::filter::Answer;

use crate::body::{RequestBodyError, ResponseBody};

/// Why the proxy answers for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The request cannot be understood in one way only.
    BadRequest,
    /// Its target is too long.
    TargetTooLong,
    /// CONNECT and TRACE are not for a reverse proxy.
    Method,
    /// No route, and no default backend.
    NotFound,
    /// The health check of ingress-nginx's catch-all server.
    Healthy,
    /// What a filter of the route answers.
    Filtered(Box<Answer>),
    /// The body turned out longer than it may be.
    BodyTooLong,
    /// The client did not complete its request.
    RequestTimeout,
    /// No endpoint is ready.
    NoEndpoint,
    /// An endpoint failed.
    BadGateway,
    /// An endpoint did not answer in time.
    GatewayTimeout,
}

impl Reply {
    /// The status that it has.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Healthy => StatusCode::OK,
            Self::Filtered(answer) => answer.status,
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoEndpoint => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The response.
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let status = self.status();
        let mut response = Response::new(match &self {
            Self::Healthy => ResponseBody::empty(),
            Self::Filtered(answer) if !answer.page => match &*answer.body {
                [] => ResponseBody::empty(),
                body => ResponseBody::full(body.to_vec()),
            },
            Self::Filtered(answer) => ResponseBody::full(page(status, answer.detail)),
            _ => ResponseBody::full(page(status, None)),
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        if let Self::Filtered(answer) = self {
            if !answer.page {
                headers.remove(CONTENT_TYPE);
            }
            for (name, value) in answer.fields {
                headers.append(name, value);
            }
        }
        response
    }
}

impl From<RequestBodyError> for Reply {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::Timeout => Self::RequestTimeout,
            RequestBodyError::Client(_) => Self::BadRequest,
            RequestBodyError::TooLong => Self::BodyTooLong,
        }
    }
}

fn page(status: StatusCode, text: Option<&str>) -> String {
    let title = format!(
        "{} {}",
        status.as_str(),
        status.canonical_reason().unwrap_or_default()
    );
    let text = text.map(|text| format!("<center>{text}</center>\r\n"));
    let text = text.unwrap_or_default();
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{title}</h1></center>\r\n{text}<hr><center>penstock</center>\r\n</body>\r\n</html>\r\n"
    )
}

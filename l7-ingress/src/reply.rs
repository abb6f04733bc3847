//! Turns faults into replies: the one place where the proxy answers for itself.

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION, SERVER};
use http::{Response, StatusCode};

use crate::body::ResponseBody;

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
    /// To HTTPS, or elsewhere.
    Redirect(StatusCode, HeaderValue),
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
            Self::Redirect(status, _) => *status,
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
            _ => ResponseBody::full(page(status)),
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(SERVER, HeaderValue::from_static("penstock"));
        if let Self::Redirect(_, location) = self {
            headers.insert(LOCATION, location);
        }
        response
    }
}

fn page(status: StatusCode) -> String {
    let title = format!(
        "{} {}",
        status.as_str(),
        status.canonical_reason().unwrap_or_default()
    );
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{title}</h1></center>\r\n<hr><center>penstock</center>\r\n</body>\r\n</html>\r\n"
    )
}

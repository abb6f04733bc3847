//! The query string of a request, decoded.

use percent_encoding::percent_decode_str;

use crate::status::Status;

/// Decoded parameters; the first of a repeated name counts.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    /// The value, if it is given and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|it| !it.is_empty())
    }

    /// A boolean as Go's client writes it; anything else is false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| {
            key == name && matches!(value.as_str(), "true" | "1" | "t" | "True" | "TRUE")
        })
    }

    /// A number; a value that is none is the client's fault.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "invalid {name}: Invalid value: {text:?}: must be a number"
            ))
        })
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

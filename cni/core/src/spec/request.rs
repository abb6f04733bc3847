//! A request: the variables and the configuration, checked together.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::{Config, decode};
use super::refusal::{Code, Refusal};
use super::version::Version;

/// The protocol's variables as they were found; one that is not there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "UPPERCASE")]
pub struct Environment {
    /// `CNI_COMMAND`
    pub command: String,
    /// `CNI_CONTAINERID`
    pub container: String,
    /// `CNI_NETNS`
    pub netns: String,
    /// `CNI_IFNAME`
    pub ifname: String,
    /// `CNI_ARGS`
    pub args: String,
    /// `CNI_PATH`
    pub path: String,
    /// `CNI_NETNS_OVERRIDE`
    pub netns_override: String,
}

/// An interface of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container: String,
    /// The interface.
    pub ifname: String,
}

/// What ADD, DEL and CHECK are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which interface of which container.
    pub attachment: Attachment,
    /// The namespace's path; empty where it is gone, which only DEL takes.
    pub netns: String,
    /// What the runtime adds.
    pub args: Args,
    /// Whether the node's own namespace may be the target.
    pub own_netns: bool,
}

/// `CNI_ARGS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(BTreeMap<String, String>);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make an interface.
    Add(Target),
    /// Remove it, whatever is left of it.
    Del(Target),
    /// Say whether it is as it was made.
    Check(Target),
    /// Remove what is not in use.
    Gc,
    /// Say whether ADD can be served.
    Status,
    /// Say which versions are spoken.
    Version,
}

/// A request that has been understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// In which network. VERSION has none.
    pub config: Option<Config>,
}

impl Request {
    /// Understands a request.
    pub fn read(environment: &Environment, stdin: &[u8]) -> Result<Self, Refusal> {
        let command = environment.read()?;
        if command == Command::Version {
            return Ok(Self {
                command,
                config: None,
            });
        }
        let mut config = Config::read(&decode(stdin)?)?;
        let needs = match &command {
            Command::Gc | Command::Status => Version::V1_1_0,
            Command::Check(_) => Version::V0_4_0,
            _ => Version::V0_1_0,
        };
        if config.version < needs {
            let message = format!(
                "{} came with {needs}, not {}",
                environment.command, config.version
            );
            return Err(Refusal::new(Code::IncompatibleVersion, message));
        }
        match &command {
            Command::Add(target) | Command::Check(target) => {
                let ips: Vec<String> = target.args.get("IP").map(split).unwrap_or_default();
                let runtime = &mut config.runtime;
                runtime.add_wishes(&ips, target.args.get("MAC"))?;
            }
            _ => {}
        }
        if matches!(command, Command::Check(_)) && config.previous.is_none() {
            return Err(Refusal::new(Code::Config, "CHECK needs a prevResult"));
        }
        Ok(Self {
            command,
            config: Some(config),
        })
    }
}

impl Environment {
    fn read(&self) -> Result<Command, Refusal> {
        match self.command.as_str() {
            "ADD" => self.target(true).map(Command::Add),
            "DEL" => self.target(false).map(Command::Del),
            "CHECK" => self.target(true).map(Command::Check),
            "GC" => self.with_path(Command::Gc),
            "STATUS" => self.with_path(Command::Status),
            "VERSION" => Ok(Command::Version),
            "" => Err(missing(&["CNI_COMMAND"])),
            other => Err(environment(format!("unknown CNI_COMMAND {other:?}"))),
        }
    }

    fn with_path(&self, command: Command) -> Result<Command, Refusal> {
        match self.path.is_empty() {
            true => Err(missing(&["CNI_PATH"])),
            false => Ok(command),
        }
    }

    fn target(&self, needs_netns: bool) -> Result<Target, Refusal> {
        let absent: Vec<&str> = [
            ("CNI_CONTAINERID", &self.container, true),
            ("CNI_NETNS", &self.netns, needs_netns),
            ("CNI_IFNAME", &self.ifname, true),
            ("CNI_PATH", &self.path, true),
        ]
        .into_iter()
        .filter(|(_, value, needed)| *needed && value.is_empty())
        .map(|(name, _, _)| name)
        .collect();
        if !absent.is_empty() {
            return Err(missing(&absent));
        }
        if !is_name(&self.container) || self.container.len() > LONGEST_ID {
            return Err(environment(format!(
                "CNI_CONTAINERID {:?} is not a container's name",
                self.container
            )));
        }
        if !is_interface(&self.ifname) {
            return Err(environment(format!(
                "CNI_IFNAME {:?} is not an interface's name",
                self.ifname
            )));
        }
        if self.netns.contains('\0') {
            return Err(environment("CNI_NETNS is not a path".to_owned()));
        }
        Ok(Target {
            attachment: Attachment {
                container: self.container.clone(),
                ifname: self.ifname.clone(),
            },
            netns: self.netns.clone(),
            args: Args::read(&self.args)?,
            own_netns: matches!(
                self.netns_override.to_ascii_uppercase().as_str(),
                "1" | "TRUE"
            ),
        })
    }
}

impl Args {
    /// Keys that nobody knows are passed over, with or without `IgnoreUnknown`.
    fn read(text: &str) -> Result<Self, Refusal> {
        let mut args = BTreeMap::new();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| environment(format!("CNI_ARGS: {pair:?} is not KEY=VALUE")))?;
            args.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self(args))
    }

    /// The value of a key, unless it is empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Namespace and name of the pod.
    pub fn pod(&self) -> Option<(&str, &str)> {
        Some((self.get("K8S_POD_NAMESPACE")?, self.get("K8S_POD_NAME")?))
    }
}

/// A pod's hardware address: of one station.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Reads six octets; none for groups and for zero.
    pub fn read(text: &str) -> Option<Self> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2)?;
            let hexadecimal = part.bytes().all(|byte| byte.is_ascii_hexdigit());
            *octet = u8::from_str_radix(part, 16).ok().filter(|_| hexadecimal)?;
        }
        let one = octets[0] & 1 == 0 && octets != [0; 6];
        (one && parts.next().is_none()).then_some(Self(octets))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What VERSION answers; standard input may be empty, or name the version to answer in.
pub fn version_reply(stdin: &[u8]) -> Value {
    let asked = decode(stdin).ok();
    let asked = asked
        .as_ref()
        .and_then(|object| object.get("cniVersion")?.as_str());
    let supported: Vec<&str> = Version::ALL
        .iter()
        .map(|version| version.as_str())
        .collect();
    json!({
        "cniVersion": asked.filter(|text| !text.is_empty()).unwrap_or(Version::NEWEST.as_str()),
        "supportedVersions": supported,
    })
}

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_interface(text: &str) -> bool {
    text.len() <= 15
        && !matches!(text, "" | "." | "..")
        && !text
            .contains(|letter: char| matches!(letter, '/' | ':' | '\0') || letter.is_whitespace())
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(ToOwned::to_owned).collect()
}

fn missing(names: &[&str]) -> Refusal {
    environment(format!(
        "required environment variables are missing: {}",
        names.join(", ")
    ))
}

fn environment(message: String) -> Refusal {
    Refusal::new(Code::Environment, message)
}

/// Runtimes use 64 letters; a journal should not hold novels.
const LONGEST_ID: usize = 253;

//! The CNI plugin: checks what it is given, asks the node's agent once, and prints the answer.
//!
//! No runtime and no state. Without the agent only DEL and VERSION can be done.

mod alone;

use std::env;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cni_core::spec::{Code, Command, Environment, Refusal, Request, version_reply};
use cni_core::talk::{self, Ask, LONGEST, Reply, SOCKET, TALK};
use serde_json::Value;

/// What containerd gives an ADD is 2 minutes; an answer that late helps nobody.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let environment = environment();
    let (stdin, answer) = match read_stdin() {
        Ok(stdin) => {
            let answer = run(&environment, &stdin);
            (stdin, answer)
        }
        Err(refusal) => (Vec::new(), Err(refusal)),
    };
    let (printed, code) = match answer {
        Ok(result) => (result, ExitCode::SUCCESS),
        Err(refusal) => {
            let version = asked_version(&stdin);
            (Some(refusal.to_json(&version)), ExitCode::FAILURE)
        }
    };
    let Some(value) = printed else {
        return code;
    };
    match writeln!(io::stdout().lock(), "{value}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn environment() -> Environment {
    let get = |name: &str| {
        env::var_os(name)
            .map(|value| value.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    Environment {
        command: get("CNI_COMMAND"),
        container: get("CNI_CONTAINERID"),
        netns: get("CNI_NETNS"),
        ifname: get("CNI_IFNAME"),
        args: get("CNI_ARGS"),
        path: get("CNI_PATH"),
        netns_override: get("CNI_NETNS_OVERRIDE"),
    }
}

/// No more than fits into a message, where it is a string and may grow.
fn read_stdin() -> Result<Vec<u8>, Refusal> {
    let most = LONGEST / 2;
    let mut stdin = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX) + 1;
    io::stdin()
        .take(limit)
        .read_to_end(&mut stdin)
        .map_err(|error| {
            Refusal::new(Code::Io, "reading standard input").with(error.to_string())
        })?;
    match stdin.len() > most {
        true => Err(Refusal::new(
            Code::Decode,
            format!("the network configuration is longer than {most} bytes"),
        )),
        false => Ok(stdin),
    }
}

fn run(environment: &Environment, stdin: &[u8]) -> Result<Option<Value>, Refusal> {
    let request = Request::read(environment, stdin)?;
    let Some(config) = request.config else {
        return Ok(Some(version_reply(stdin)));
    };
    let socket = Path::new(config.socket.as_deref().unwrap_or(SOCKET));
    let ask = Ask {
        talk: TALK,
        environment: environment.clone(),
        stdin: String::from_utf8_lossy(stdin).into_owned(),
    };
    match (ask_agent(socket, &ask), request.command) {
        (Ok(Reply::Done(result)), _) => Ok(result),
        (Ok(Reply::Refused(refusal)), _) => Err(refusal),
        (Err(_), Command::Del(target)) => {
            alone::delete(socket, &config.name, &target);
            Ok(None)
        }
        (Err(error), command) => {
            let code = match command {
                Command::Status => Code::Unavailable,
                _ => Code::TryAgain,
            };
            let message = format!("the agent at {} does not answer", socket.display());
            Err(Refusal::new(code, message).with(error.to_string()))
        }
    }
}

fn ask_agent(socket: &Path, ask: &Ask) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&talk::frame(ask))?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = talk::length(head).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// The version that an error is to name: the one asked for, whether it is spoken or not.
fn asked_version(stdin: &[u8]) -> String {
    let value: Value = serde_json::from_slice(stdin).unwrap_or_default();
    let asked = value.get("cniVersion").and_then(Value::as_str);
    asked.unwrap_or("1.1.0").to_owned()
}

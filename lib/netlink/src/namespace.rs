//! Network namespaces: made, named, entered and deleted.
//!
//! A thread that has entered a namespace never returns to its own: it ends. So no error on the way back
//! can leave a runtime's worker somewhere else, and nobody observes the change.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::mount::{self, MountPropagationFlags, UnmountFlags};

use crate::error::Error;

/// Where `ip netns` and the container runtimes look for names.
const NAMES: &str = "/run/netns";
const OURS: &str = "/proc/thread-self/ns/net";

/// A network namespace, held open: it lives at least as long as this.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
    path: Arc<Path>,
}

/// Tells namespaces apart for as long as either is held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId {
    device: u64,
    inode: u64,
}

impl Namespace {
    /// The one of this thread.
    pub fn current() -> Result<Self, Error> {
        Self::open(Path::new(OURS))
    }

    /// The one that this file stands for, as in `CNI_NETNS`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = failed("opening", path);
        let file = File::open(path).map_err(&fail)?;
        // Any file can be named here; only a namespace file can be entered.
        let is_namespace = rustix::fs::fstatfs(&file).map_err(|errno| fail(errno.into()))?;
        if is_namespace.f_type != NSFS {
            return Err(fail(Errno::INVAL.into()));
        }
        Ok(Self {
            file: Arc::new(file),
            path: path.into(),
        })
    }

    /// The one with this name in `/run/netns`.
    pub fn named(name: &str) -> Result<Self, Error> {
        Self::open(&path_of(name)?)
    }

    /// The one of a process.
    pub fn of_process(id: u32) -> Result<Self, Error> {
        Self::open(Path::new(&format!("/proc/{id}/ns/net")))
    }

    /// A new one without a name: it ends with its last user.
    pub fn new() -> Result<Self, Error> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| failed("making a", Path::new("without a name"))(errno.into()))?;
            Self::current()
        })
    }

    /// A new one with a name in `/run/netns`, as `ip netns add` makes it.
    pub fn create(name: &str) -> Result<Self, Error> {
        let path = path_of(name)?;
        let fail = failed("making", &path);
        prepare_names().map_err(&fail)?;
        File::create_new(&path).map_err(&fail)?;
        let mounted = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| fail(errno.into()))?;
            mount::mount_bind(OURS, &path).map_err(|errno| fail(errno.into()))
        });
        if let Err(error) = mounted {
            // The file is ours, made above; that it may stay behind is no news beside the error.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        Self::open(&path)
    }

    /// Takes a name away. The namespace ends with its last user.
    pub fn delete(name: &str) -> Result<(), Error> {
        let path = path_of(name)?;
        match mount::unmount(&path, UnmountFlags::DETACH) {
            // Not mounted: the leftover of a creation that did not come to its end.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(failed("unmounting", &path)(errno.into())),
        }
        fs::remove_file(&path).map_err(failed("deleting", &path))
    }

    /// The names in `/run/netns`.
    pub fn names() -> Result<Vec<String>, Error> {
        let fail = failed("listing", Path::new(NAMES));
        let entries = match fs::read_dir(NAMES) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(&fail)?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Runs `work` in it, on this thread, which comes back. Threads and processes started there stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let home = Self::current()?;
        if home == *self {
            return Ok(work());
        }
        self.go().map_err(failed("entering", &self.path))?;
        let _back = Back(home);
        Ok(work())
    }

    fn go(&self) -> io::Result<()> {
        Ok(setns(&self.file, CloneFlags::CLONE_NEWNET)?)
    }

    /// What tells it from others.
    pub fn id(&self) -> Result<NamespaceId, Error> {
        let meta = self
            .file
            .metadata()
            .map_err(failed("reading", &self.path))?;
        Ok(NamespaceId {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Brings a thread back, also after a panic.
struct Back(Namespace);

impl Drop for Back {
    fn drop(&mut self) {
        if self.0.go().is_err() {
            // What this thread did from now on would happen to somebody else's namespace.
            std::process::abort();
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Two handles of one namespace are equal.
impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        matches!((self.id(), other.id()), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}

impl Eq for Namespace {}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Namespace {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn path_of(name: &str) -> Result<PathBuf, Error> {
    let path = Path::new(NAMES).join(name);
    let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    match plain {
        true => Ok(path),
        false => Err(failed("naming", &path)(Errno::INVAL.into())),
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, work)
            .map_err(failed("starting a thread for a", Path::new("")))?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Makes `/run/netns` a shared mount, as `ip netns` does, so that names reach other mount namespaces and
/// a deletion reaches the copies there.
fn prepare_names() -> io::Result<()> {
    fs::create_dir_all(NAMES)?;
    // Two that make it a mount at once would stack one on the other.
    let directory = File::open(NAMES)?;
    flock(&directory, FlockOperation::LockExclusive)?;
    let flags = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    match mount::mount_change(NAMES, flags) {
        // Not a mount of its own yet.
        Err(Errno::INVAL) => {
            mount::mount_bind_recursive(NAMES, NAMES)?;
            Ok(mount::mount_change(NAMES, flags)?)
        }
        other => Ok(other?),
    }
}

/// `NSFS_MAGIC`.
const NSFS: rustix::fs::FsWord = 0x6e73_6673;

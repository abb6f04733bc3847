//! A program that runs in a machine.

use std::process::Child;

/// A program, killed when this goes.
#[derive(Debug)]
pub struct Running(pub(super) Child);

impl Running {
    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself is no error.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

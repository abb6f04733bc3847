//! A response body that is compressed on its way.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http_body::Frame;
use l7_ingress_core::filter::Encoding;

/// What brotli looks back at: 512 KiB, as ngx_brotli's default.
const WINDOW: u32 = 19;
/// What brotli gathers before it compresses.
const GATHERED: usize = 16 * 1024;

/// The compressor, and what is still to come after it.
#[derive(Debug)]
pub(super) struct Coded {
    coder: Coder,
    /// Whether something was put in since it was last flushed.
    is_dirty: bool,
    /// Trailers follow the last compressed byte.
    trailers: Option<Frame<Bytes>>,
}

enum Coder {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    /// All is out.
    Done,
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Brotli(_) => "Brotli",
            Self::Done => "Done",
        })
    }
}

impl Coded {
    pub(super) fn new(encoding: Encoding) -> Box<Self> {
        let coder = match encoding {
            Encoding::Gzip(level) => {
                let level = flate2::Compression::new(level);
                Coder::Gzip(Box::new(GzEncoder::new(Vec::new(), level)))
            }
            Encoding::Brotli(level) => {
                let out = brotli::CompressorWriter::new(Vec::new(), GATHERED, level, WINDOW);
                Coder::Brotli(Box::new(out))
            }
        };
        Box::new(Self {
            coder,
            is_dirty: false,
            trailers: None,
        })
    }

    /// Whether nothing is to come any more.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.coder, Coder::Done) && self.trailers.is_none()
    }

    /// Whether the source has been read to its end.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.coder, Coder::Done)
    }

    /// Takes a piece in; what has come out by now.
    pub(super) fn put(&mut self, data: &[u8]) -> io::Result<Bytes> {
        match &mut self.coder {
            Coder::Gzip(coder) => coder.write_all(data)?,
            Coder::Brotli(coder) => coder.write_all(data)?,
            Coder::Done => {}
        }
        self.is_dirty = true;
        Ok(self.out())
    }

    /// All that was put in, in a form that the client can read by itself; nothing if that has been given.
    pub(super) fn flush(&mut self) -> io::Result<Bytes> {
        if !std::mem::take(&mut self.is_dirty) {
            return Ok(Bytes::new());
        }
        match &mut self.coder {
            Coder::Gzip(coder) => coder.flush()?,
            Coder::Brotli(coder) => coder.flush()?,
            Coder::Done => {}
        }
        Ok(self.out())
    }

    /// The end of the compressed body.
    pub(super) fn finish(&mut self) -> io::Result<Bytes> {
        Ok(match std::mem::replace(&mut self.coder, Coder::Done) {
            Coder::Gzip(coder) => coder.finish()?.into(),
            Coder::Brotli(coder) => coder.into_inner().into(),
            Coder::Done => Bytes::new(),
        })
    }

    /// Keeps trailers for later.
    pub(super) fn keep(&mut self, trailers: Frame<Bytes>) {
        self.trailers = Some(trailers);
    }

    pub(super) fn trailers(&mut self) -> Option<Frame<Bytes>> {
        self.trailers.take()
    }

    fn out(&mut self) -> Bytes {
        let out = match &mut self.coder {
            Coder::Gzip(coder) => coder.get_mut(),
            Coder::Brotli(coder) => return Bytes::from(std::mem::take(coder.get_mut())),
            Coder::Done => return Bytes::new(),
        };
        std::mem::take(out).into()
    }
}

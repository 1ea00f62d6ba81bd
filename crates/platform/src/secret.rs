//! The server secret: the key under which every stored digest is made.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::Error;
use crate::id;

/// File name of the secret in the data directory.
pub(crate) const SECRET_FILE: &str = "server.secret";

const SECRET_BYTES: usize = 32;

/// What a digest is of. Digests of one purpose never match those of another.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    StreamKey,
    AdminToken,
    /// The secret of a signing key, by its id.
    SigningKey,
    /// What a webhook's deliveries are signed with.
    WebhookSecret,
    /// The seal of a signed stream key.
    SignedStreamKey,
    /// Proves that the secret and the database belong together.
    SecretCheck,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::StreamKey => b"tidewire stream key\0",
            Self::AdminToken => b"tidewire admin token\0",
            Self::SigningKey => b"tidewire signing key\0",
            Self::WebhookSecret => b"tidewire webhook secret\0",
            Self::SignedStreamKey => b"tidewire signed stream key\0",
            Self::SecretCheck => b"tidewire secret check\0",
        }
    }
}

/// 256 random bits, made once per data directory.
pub(crate) struct ServerSecret([u8; SECRET_BYTES]);

impl ServerSecret {
    /// Reads the secret of `data_dir`, or makes it.
    ///
    /// Two processes that start at once agree on one: the file is written whole under another name and linked into
    /// place, which fails if the other process was first.
    pub(crate) fn load_or_create(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(SECRET_FILE);
        match Self::read(&path) {
            Ok(secret) => return Ok(secret),
            Err(Error::DataDir { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let bytes = id::random::<SECRET_BYTES>()?;
        let draft = data_dir.join(format!("{SECRET_FILE}.{}", id::base32(&id::random::<5>()?)));
        let outcome = write_private(&draft, &bytes).and_then(|()| match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
        // Whether or not the link was made, the draft has done its work; a leftover is harmless.
        let _ = fs::remove_file(&draft);
        outcome.map_err(|source| Error::DataDir {
            action: "write the server secret",
            path: path.clone(),
            source,
        })?;
        Self::read(&path)
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let fault = |source| Error::DataDir {
            action: "read the server secret",
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(fault)?;
        let mode = file.metadata().map_err(fault)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "the server secret was readable by others; its mode is now 0600");
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fault)?;
        }
        let mut bytes = Vec::with_capacity(SECRET_BYTES + 1);
        file.take(SECRET_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(fault)?;
        let found = bytes.len();
        let secret = bytes.try_into().map_err(|_| Error::DamagedSecret {
            path: path.to_owned(),
            found,
        })?;
        Ok(Self(secret))
    }

    /// HMAC-SHA256 of the purpose's label and `text`, in lower-case hex.
    pub(crate) fn digest(&self, purpose: Purpose, text: &str) -> String {
        let mut hex = String::with_capacity(64);
        for byte in self.derive(purpose, text) {
            hex.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            hex.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        hex
    }

    /// HMAC-SHA256 of the purpose's label and `text`: a secret of its own for what `text` names.
    pub(crate) fn derive(&self, purpose: Purpose, text: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(purpose.label());
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

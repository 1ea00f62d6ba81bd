//! How a command ends when it does not end well.

use std::fmt;

/// One or more lines for the person at the terminal, and the exit code.
#[derive(Debug)]
pub(crate) struct Exit {
    code: u8,
    message: String,
}

impl Exit {
    /// The command was understood and failed: exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// The command line, the configuration or the machine must be changed first (a port in use, a directory that
    /// cannot be written): exit code 2.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// An empty message means that all has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            code,
            message: String::new(),
        }
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<crate::config::ConfigError> for Exit {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::start(error.to_string())
    }
}

impl From<anyhow::Error> for Exit {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<store::StoreError> for Exit {
    fn from(error: store::StoreError) -> Self {
        use store::StoreError as E;
        let message = error.to_string();
        match error {
            E::Io { .. } | E::NewerSchema { .. } | E::BadRow { .. } => Self::start(message),
            _ => Self::failed(message),
        }
    }
}

impl From<platform::Error> for Exit {
    fn from(error: platform::Error) -> Self {
        use platform::Error as E;
        let message = error.to_string();
        match error {
            E::DataDir { .. }
            | E::Corrupt { .. }
            | E::ReadOnly { .. }
            | E::NewerSchema { .. }
            | E::WrongSecret { .. }
            | E::DamagedSecret { .. }
            | E::AlreadyServing { .. }
            | E::InvalidName { .. }
            | E::InvalidLabel
            | E::ExpiryPast => Self::start(message),
            _ => Self::failed(message),
        }
    }
}

//! Where a client stands.

use std::fmt;

/// Where a client stands with its service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Not connected, and nothing is known against trying.
    #[default]
    Disconnected,
    /// In the middle of a `refresh`.
    Connecting,
    /// Calls can be made.
    Ready,
    /// Nobody served there.
    NotFound,
    /// Somebody serves there, and this user may not connect.
    Denied,
    /// The token was not accepted. Trying again would not help.
    AuthFailed,
    /// The peers do not go together. Trying again would not help.
    Incompatible,
    /// It was ready, and the connection is gone.
    Broken,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Disconnected => "not connected",
            State::Connecting => "connecting",
            State::Ready => "ready",
            State::NotFound => "without a service",
            State::Denied => "not allowed to connect",
            State::AuthFailed => "not accepted, for its token",
            State::Incompatible => "incompatible with the server",
            State::Broken => "disconnected by a failure",
        })
    }
}

//! From arguments to a connected client.

use crate::args::{Profile, Reaching};
use crate::failure::{Exit, Failure, at};
use crate::output::printable;
use snapwire::codec::{Limit, Profiles};
use snapwire::{Client, ClientConfig, Endpoint, Error, Offer, Service};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The endpoint of a socket, whose path may be without `.sock`.
pub(crate) fn endpoint(service: &Path) -> Result<Endpoint, Failure> {
    let wrong = || {
        let message = format!("{} is no service", printable(service.as_os_str().as_bytes()));
        Failure::new(Exit::Usage, message).hint("give its socket, as in /run/netdata/cgroups")
    };
    let name = service.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    let directory = match service.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Endpoint::new(directory, name.strip_suffix(".sock").unwrap_or(name))
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// What a client asks for.
pub(crate) fn config(reaching: &Reaching, request: Limit) -> ClientConfig {
    let offer = Offer { request, auth_token: reaching.token, ..Offer::default() };
    let offer = match reaching.profile {
        Profile::Auto => offer,
        Profile::Shm => Offer { profiles: Profiles::SHM, preferred: Profiles::SHM, ..offer },
        Profile::Uds => {
            Offer { profiles: Profiles::BASELINE, preferred: Profiles::BASELINE, ..offer }
        }
    };
    ClientConfig { offer, timeout: reaching.timeout, ..ClientConfig::default() }
}

/// A client that is connected, and what is left of its time for a call.
pub(crate) fn connect<S: Service>(
    endpoint: &Endpoint,
    config: &ClientConfig,
) -> Result<(Client<S>, Duration), Failure> {
    let mut client = Client::new(endpoint, config);
    let left = refresh(&mut client, config).map_err(at(endpoint))?;
    Ok((client, left))
}

/// Connects a client where it is not, or says why that cannot be, all in the time of one call;
/// returns what is left of it.
pub(crate) fn refresh<S: Service>(
    client: &mut Client<S>,
    config: &ClientConfig,
) -> Result<Duration, Error> {
    let began = Instant::now();
    client.connect_within(config.timeout)?;
    let left = config.timeout.checked_sub(began.elapsed());
    // Nothing left is not forever.
    left.filter(|left| !left.is_zero()).ok_or(Error::Timeout)
}

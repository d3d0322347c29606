//! From arguments to a connected client.

use crate::args::{Profile, Reaching};
use crate::failure::{Exit, Failure};
use snapwire::codec::{Limit, Profiles};
use snapwire::{Client, ClientConfig, Endpoint, Offer, Patience, Service, Session};
use std::path::Path;

/// The endpoint of a socket, whose path may be without `.sock`.
pub(crate) fn endpoint(service: &Path) -> Result<Endpoint, Failure> {
    let wrong = || {
        let message = format!("{} is no service", service.display());
        Failure::new(Exit::Usage, message).hint("give its socket, as in /run/netdata/cgroups")
    };
    let name = service.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    let directory = match service.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(Endpoint::new(directory, name.strip_suffix(".sock").unwrap_or(name))?)
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

/// A client that is connected.
pub(crate) fn connect<S: Service>(
    service: &Path,
    config: &ClientConfig,
) -> Result<Client<S>, Failure> {
    let endpoint = endpoint(service)?;
    let mut client = Client::new(&endpoint, config);
    client.refresh();
    if !client.is_ready() {
        // A client's state says less than the error of one attempt.
        let mut patience = Patience::new(config.timeout);
        drop(Session::connect(&endpoint, &config.offer, &mut patience)?);
        client.refresh();
        if !client.is_ready() {
            let message = format!("{endpoint}: the client is {}", client.state());
            return Err(Failure::new(Exit::Broken, message).hint("try again"));
        }
    }
    Ok(client)
}

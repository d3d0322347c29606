//! Limits that grow, and those that do not.

use snapwire::codec::{Limit, Profiles};
use snapwire::{
    Client, ClientConfig, Endpoint, Error, Offer, Server, ServerConfig, State, StringReverse,
};

#[test]
fn what_has_grown_is_no_reason_to_be_incompatible() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(directory.path(), "svc").unwrap();
    let serve = |payload_bytes| {
        let request = Limit { payload_bytes, batch_items: 1 };
        let offer = Offer { request, ..Offer::default() };
        let config = ServerConfig { offer, ..ServerConfig::default() };
        Server::start::<StringReverse>(&endpoint, &config, |text, reply| Ok(reply.set(text)?))
            .unwrap()
    };
    let server = serve(1 << 16);
    let mut client = Client::<StringReverse>::new(&endpoint, &ClientConfig::default());
    client.refresh();
    assert_eq!(client.call(&[7; 9000]).unwrap(), [7; 9000]);
    server.stop();
    // One that allows less, and still as much as was asked for.
    let _server = serve(4096);
    let error = client.call(b"ab").unwrap_err();
    assert!(matches!(error, Error::ProposalTooLarge), "{error}");
    assert!(client.refresh());
    assert_eq!(client.call(b"ab").unwrap(), b"ab");
    assert_eq!(client.call(&[7; 4000]).unwrap(), [7; 4000]);
}

#[test]
fn a_request_that_the_server_does_not_allow_is_no_reason_to_stop() {
    for profile in [Profiles::BASELINE, Profiles::SHM_HYBRID, Profiles::SHM_WAITERS] {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::new(directory.path(), "svc").unwrap();
        let profiles = Profiles::BASELINE | profile;
        let offer = Offer { profiles, preferred: profile, ..Offer::default() };
        let request = Limit { payload_bytes: 4096, batch_items: 1 };
        let config = ServerConfig { offer: Offer { request, ..offer }, ..ServerConfig::default() };
        let _server =
            Server::start::<StringReverse>(&endpoint, &config, |text, reply| Ok(reply.set(text)?))
                .unwrap();
        let config = ClientConfig { offer, ..ClientConfig::default() };
        let mut client = Client::<StringReverse>::new(&endpoint, &config);
        client.refresh();
        let error = client.call(&[7; 9000]).unwrap_err();
        assert!(matches!(error, Error::ProposalTooLarge), "{error}");
        assert_eq!(client.state(), State::Broken);
        assert!(client.refresh());
        assert_eq!(client.call(b"ab").unwrap(), b"ab");
        // What is known not to fit does not even cost the connection.
        let error = client.call(&[7; 9000]).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { found: 9009, .. }), "{error}");
        assert_eq!(client.call(&[7; 4000]).unwrap(), [7; 4000]);
        assert_eq!(client.state(), State::Ready);
    }
}

//! Who speaks how: one proposal, one answer.

use crate::codec::{Code, Fault, HEADER_LEN, Header, Hello, HelloAck, Kind, Limit, Malformed};
use crate::codec::{Profiles, Status};
use crate::endpoint::SessionId;
use crate::error::Error;

/// How much is received of a handshake's packet, in bytes.
pub(crate) const PACKET_MAX: usize = 128;
/// The longest response that a client takes, whatever the server announces.
const INBOUND_MAX: u32 = 64 << 20;

/// What a peer brings to the handshake. A server's limits are its maxima.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The transports that it can use.
    pub profiles: Profiles,
    /// Those that it would rather use.
    pub preferred: Profiles,
    /// The largest requests: a client proposes, a server bounds. Zeros are the defaults.
    pub request: Limit,
    /// The largest responses: a server decides. Zeros are the defaults.
    pub response: Limit,
    /// Both must bring the same.
    pub auth_token: u64,
    /// The largest packet, header included, in bytes. Zero: what the socket can carry.
    pub packet_size: u32,
}

impl Offer {
    /// The default of the longest request, in bytes.
    pub const REQUEST_BYTES: u32 = 1024;
    /// The default of the longest response, in bytes.
    pub const RESPONSE_BYTES: u32 = 65536;

    /// With defaults instead of zeros.
    fn filled(&self, socket_packet_size: u32) -> Offer {
        let or = |value, default| if value == 0 { default } else { value };
        Offer {
            profiles: if self.profiles.is_empty() { Profiles::BASELINE } else { self.profiles },
            request: Limit {
                payload_bytes: or(self.request.payload_bytes, Offer::REQUEST_BYTES),
                batch_items: or(self.request.batch_items, 1),
            },
            response: Limit {
                payload_bytes: or(self.response.payload_bytes, Offer::RESPONSE_BYTES),
                batch_items: or(self.response.batch_items, 1),
            },
            packet_size: match self.packet_size {
                0 => socket_packet_size,
                size => size.min(socket_packet_size),
            },
            ..*self
        }
    }
}

impl Default for Offer {
    /// Every transport, shared memory rather than the socket; requests of 1 KiB and one item,
    /// responses of 64 KiB; token 0.
    fn default() -> Offer {
        Offer {
            profiles: Profiles::BASELINE | Profiles::SHM_HYBRID | Profiles::SHM_WAITERS,
            preferred: Profiles::SHM_HYBRID | Profiles::SHM_WAITERS,
            request: Limit { payload_bytes: 0, batch_items: 0 },
            response: Limit { payload_bytes: 0, batch_items: 0 },
            auth_token: 0,
            packet_size: 0,
        }
    }
}

/// What was agreed, for the whole life of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The transport.
    pub profile: Profiles,
    /// What requests may carry.
    pub request: Limit,
    /// What responses may carry.
    pub response: Limit,
    /// The largest packet, header included, in bytes.
    pub packet_size: u32,
    /// The server's number for the session.
    pub session: SessionId,
}

fn control(code: Code, status: Status, payload_len: usize) -> [u8; HEADER_LEN] {
    let header = Header {
        kind: Kind::Control,
        batch: false,
        code,
        status,
        payload_len: payload_len as u32,
        item_count: 1,
        message_id: 0,
    };
    header.encode()
}

/// A client's first packet.
pub(crate) fn hello(offer: &Offer, socket_packet_size: u32) -> ([u8; HEADER_LEN], Hello) {
    let offer = offer.filled(socket_packet_size);
    let hello = Hello {
        supported: offer.profiles,
        preferred: offer.preferred,
        request: offer.request,
        response: offer.response,
        auth_token: offer.auth_token,
        packet_size: offer.packet_size,
    };
    (control(Code::HELLO, Status::OK, Hello::LEN), hello)
}

/// Why a server does not accept a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It did not say anything that could be answered.
    Silent(Malformed),
    /// It is told why.
    Told(Status),
}

/// What a server makes of a client's first packet.
///
/// The token is looked at before anything that would tell a stranger about the server.
pub(crate) fn judge(
    packet: &[u8],
    offer: &Offer,
    socket_packet_size: u32,
    session: SessionId,
) -> Result<Terms, Refusal> {
    let offer = offer.filled(socket_packet_size);
    let payload = hello_payload(packet)?;
    if Hello::is_of_another_layout(payload) {
        return Err(Refusal::Told(Status::INCOMPATIBLE));
    }
    let hello = Hello::decode(payload).map_err(|_| Refusal::Told(Status::BAD_ENVELOPE))?;
    if !same_token(hello.auth_token, offer.auth_token) {
        return Err(Refusal::Told(Status::AUTH_FAILED));
    }
    let common = hello.supported & offer.profiles;
    let preferred = common & hello.preferred & offer.preferred;
    let Some(profile) = preferred.highest().or(common.highest()) else {
        return Err(Refusal::Told(Status::UNSUPPORTED));
    };
    let or = |value, default| if value == 0 { default } else { value };
    let request = Limit {
        payload_bytes: or(hello.request.payload_bytes, Offer::REQUEST_BYTES),
        batch_items: or(hello.request.batch_items, 1),
    };
    if request.payload_bytes > offer.request.payload_bytes {
        return Err(Refusal::Told(Status::LIMIT_EXCEEDED));
    }
    let packet_size = or(hello.packet_size, offer.packet_size).min(offer.packet_size);
    if packet_size as usize <= HEADER_LEN {
        return Err(Refusal::Told(Status::INCOMPATIBLE));
    }
    let response =
        Limit { payload_bytes: offer.response.payload_bytes, batch_items: request.batch_items };
    Ok(Terms { profile, request, response, packet_size, session })
}

/// The payload of a packet that is a HELLO.
fn hello_payload(packet: &[u8]) -> Result<&[u8], Refusal> {
    let is_hello = |header: &Header| header.kind == Kind::Control && header.code == Code::HELLO;
    match Header::decode(packet) {
        Ok(header) if is_hello(&header) => Ok(&packet[HEADER_LEN..]),
        Ok(_) => Err(Refusal::Silent(Malformed::new(Fault::BadKind, "HELLO"))),
        Err(error) if error.fault == Fault::BadVersion => {
            let mut patched = [0; HEADER_LEN];
            patched.copy_from_slice(&packet[..HEADER_LEN]);
            patched[4..6].copy_from_slice(&crate::codec::VERSION.to_ne_bytes());
            match Header::decode(&patched) {
                Ok(header) if is_hello(&header) => Err(Refusal::Told(Status::INCOMPATIBLE)),
                _ => Err(Refusal::Silent(error)),
            }
        }
        Err(error) => Err(Refusal::Silent(error)),
    }
}

/// Takes as long for any two tokens.
fn same_token(one: u64, other: u64) -> bool {
    std::hint::black_box(one ^ other) == 0
}

/// A server's answer to a client that it accepts.
pub(crate) fn ack(terms: &Terms, offer: &Offer, packet: &[u8]) -> [u8; HEADER_LEN + HelloAck::LEN] {
    // The packet was judged before.
    let hello = Hello::decode(packet.get(HEADER_LEN..).unwrap_or_default());
    let supported = hello.map_or(offer.profiles, |hello| hello.supported);
    let ack = HelloAck {
        supported: offer.profiles,
        common: supported & offer.profiles,
        selected: terms.profile,
        request: terms.request,
        response: terms.response,
        packet_size: terms.packet_size,
        session_id: terms.session.0,
    };
    answer(Status::OK, &ack)
}

/// A server's answer to a client that it refuses.
pub(crate) fn refusal(status: Status) -> [u8; HEADER_LEN + HelloAck::LEN] {
    answer(status, &HelloAck::REFUSAL)
}

fn answer(status: Status, ack: &HelloAck) -> [u8; HEADER_LEN + HelloAck::LEN] {
    let mut packet = [0; HEADER_LEN + HelloAck::LEN];
    packet[..HEADER_LEN].copy_from_slice(&control(Code::HELLO_ACK, status, HelloAck::LEN));
    packet[HEADER_LEN..].copy_from_slice(&ack.encode());
    packet
}

/// What a client makes of the answer to its proposal.
pub(crate) fn terms(packet: &[u8], hello: &Hello) -> Result<Terms, Error> {
    let header = Header::decode(packet).map_err(|error| match error.fault {
        Fault::BadVersion => Error::Incompatible,
        _ => Error::Malformed(error),
    })?;
    if header.kind != Kind::Control || header.code != Code::HELLO_ACK {
        return Err(Error::Protocol("it answered the handshake with something else"));
    }
    match header.status {
        Status::OK => {}
        Status::AUTH_FAILED => return Err(Error::AuthFailed),
        Status::INCOMPATIBLE => return Err(Error::Incompatible),
        Status::UNSUPPORTED => return Err(Error::NoProfile),
        Status::LIMIT_EXCEEDED => return Err(Error::ProposalTooLarge),
        status => return Err(Error::Handshake(status)),
    }
    let ack = HelloAck::decode(&packet[HEADER_LEN..]).map_err(|error| match error.fault {
        Fault::BadVersion => Error::Incompatible,
        _ => Error::Malformed(error),
    })?;
    let selected_one = ack.selected.highest() == Some(ack.selected);
    if !selected_one || !hello.supported.intersects(ack.selected) {
        return Err(Error::Protocol("it selected a profile that was not offered"));
    }
    if ack.packet_size as usize <= HEADER_LEN || ack.packet_size > hello.packet_size {
        return Err(Error::Protocol("it agreed to a packet size that was not offered"));
    }
    let response = Limit {
        payload_bytes: ack.response.payload_bytes.min(INBOUND_MAX),
        batch_items: ack.response.batch_items,
    };
    Ok(Terms {
        profile: ack.selected,
        request: ack.request,
        response,
        packet_size: ack.packet_size,
        session: SessionId(ack.session_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Offer = Offer {
        profiles: Profiles(0x13),
        preferred: Profiles(0x02),
        request: Limit { payload_bytes: 4096, batch_items: 8 },
        response: Limit { payload_bytes: 9000, batch_items: 8 },
        auth_token: 7,
        packet_size: 0,
    };

    fn client() -> Offer {
        Offer { auth_token: 7, ..Offer::default() }
    }

    fn packet(offer: &Offer) -> Vec<u8> {
        let (header, hello) = hello(offer, 60000);
        [&header[..], &hello.encode()].concat()
    }

    fn judged(packet: &[u8]) -> Result<Terms, Refusal> {
        judge(packet, &SERVER, 65536, SessionId(3))
    }

    #[test]
    fn the_terms_are_the_clients_request_and_the_servers_response() {
        let offer = Offer {
            request: Limit { payload_bytes: 2048, batch_items: 5 },
            response: Limit { payload_bytes: 1, batch_items: 1 },
            ..client()
        };
        let packet = packet(&offer);
        let agreed = judged(&packet).unwrap();
        let expected = Terms {
            profile: Profiles::SHM_HYBRID,
            request: Limit { payload_bytes: 2048, batch_items: 5 },
            response: Limit { payload_bytes: 9000, batch_items: 5 },
            packet_size: 60000,
            session: SessionId(3),
        };
        assert_eq!(agreed, expected);
        let (_, hello) = hello(&offer, 60000);
        assert_eq!(terms(&ack(&agreed, &SERVER, &packet), &hello).unwrap(), expected);
    }

    #[test]
    fn without_a_common_preference_the_highest_profile_is_taken() {
        let none = Offer { preferred: Profiles(0), ..client() };
        assert_eq!(judged(&packet(&none)).unwrap().profile, Profiles::SHM_WAITERS);
        let old = Offer { profiles: Profiles(0x3), preferred: Profiles(0), ..client() };
        assert_eq!(judged(&packet(&old)).unwrap().profile, Profiles::SHM_HYBRID);
    }

    /// What the services of netdata and their clients propose, and prefer, themselves.
    #[test]
    #[cfg(target_endian = "little")]
    fn with_netdatas_own_proposal_it_is_shared_memory() {
        let theirs = Offer {
            profiles: Profiles(0x07),
            preferred: Profiles::SHM_FUTEX,
            request: Limit { payload_bytes: 1024, batch_items: 1 },
            response: Limit { payload_bytes: 65536, batch_items: 1 },
            auth_token: 7,
            packet_size: 0,
        };
        let (header, hello) = hello(&theirs, 212_992);
        let packet = [&header[..], &hello.encode()].concat();
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "4350494e0100200003000000010000002c000000010000000000000000000000",
            "01000000070000000400000000040000010000000000010001000000",
            "00000000070000000000000000400300",
        );
        assert_eq!(hex, expected);
        let agreed = judge(&packet, &client(), 65504, SessionId(1)).unwrap();
        assert_eq!((agreed.profile, agreed.packet_size), (Profiles::SHM_HYBRID, 65504));
        assert_eq!(terms(&ack(&agreed, &client(), &packet), &hello).unwrap(), agreed);

        let (header, hello) = super::hello(&client(), 65504);
        let packet = [&header[..], &hello.encode()].concat();
        let agreed = judge(&packet, &theirs, 212_992, SessionId(1)).unwrap();
        assert_eq!((agreed.profile, agreed.packet_size), (Profiles::SHM_HYBRID, 65504));
        assert_eq!(terms(&ack(&agreed, &theirs, &packet), &hello).unwrap(), agreed);
    }

    #[test]
    fn each_wrong_field_has_its_status() {
        let told = |offer: Offer| match judged(&packet(&offer)) {
            Err(Refusal::Told(status)) => status,
            other => panic!("{other:?}"),
        };
        assert_eq!(told(Offer { auth_token: 8, ..client() }), Status::AUTH_FAILED);
        assert_eq!(told(Offer { profiles: Profiles(0x40), ..client() }), Status::UNSUPPORTED);
        let large = Limit { payload_bytes: 4097, batch_items: 1 };
        assert_eq!(told(Offer { request: large, ..client() }), Status::LIMIT_EXCEEDED);
        assert_eq!(told(Offer { packet_size: 32, ..client() }), Status::INCOMPATIBLE);
        // A stranger learns nothing but that.
        let stranger =
            Offer { auth_token: 8, request: large, profiles: Profiles(0x40), ..client() };
        assert_eq!(told(stranger), Status::AUTH_FAILED);
    }

    #[test]
    fn malformed_proposals_are_refused() {
        let good = packet(&client());
        let with = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            judged(&bad).unwrap_err()
        };
        assert_eq!(with(4, 2), Refusal::Told(Status::INCOMPATIBLE));
        assert_eq!(with(32, 2), Refusal::Told(Status::INCOMPATIBLE));
        assert_eq!(with(34, 1), Refusal::Told(Status::BAD_ENVELOPE));
        assert_eq!(with(60, 1), Refusal::Told(Status::BAD_ENVELOPE));
        assert_eq!(judged(&good[..75]), Err(Refusal::Told(Status::BAD_ENVELOPE)));
        for silent in [with(0, 0), with(6, 31), with(8, 1), with(12, 2)] {
            assert!(matches!(silent, Refusal::Silent(_)), "{silent:?}");
        }
        assert!(matches!(judged(&good[..31]), Err(Refusal::Silent(_))));
        let mut both = good;
        both[4] = 2;
        both[8] = 1;
        assert!(matches!(judged(&both), Err(Refusal::Silent(_))));
    }

    #[test]
    fn answers_are_checked() {
        let (_, hello) = hello(&client(), 60000);
        let agreed = judged(&packet(&client())).unwrap();
        let good = ack(&agreed, &SERVER, &packet(&client()));
        let with = |at: usize, value: u8| {
            let mut bad = good;
            bad[at] = value;
            terms(&bad, &hello)
        };
        assert!(matches!(with(4, 2), Err(Error::Incompatible)));
        assert!(matches!(with(32, 2), Err(Error::Incompatible)));
        assert!(matches!(with(34, 1), Err(Error::Malformed(_))));
        assert!(matches!(with(44, 3), Err(Error::Protocol(_))), "two profiles");
        assert!(matches!(with(44, 8), Err(Error::Protocol(_))), "not offered");
        assert!(matches!(with(67, 1), Err(Error::Protocol(_))), "packet size");
        assert!(matches!(with(8, 1), Err(Error::Protocol(_))));
        for (status, expected) in [
            (Status::AUTH_FAILED, "token"),
            (Status::INCOMPATIBLE, "versions"),
            (Status::UNSUPPORTED, "profile"),
            (Status::LIMIT_EXCEEDED, "propose less"),
            (Status::INTERNAL_ERROR, "INTERNAL_ERROR"),
        ] {
            // The status is looked at before the payload, which is all zeros.
            let error = terms(&refusal(status)[..33], &hello).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let huge = with(59, 0xff).unwrap();
        assert_eq!(huge.response.payload_bytes, INBOUND_MAX);
    }
}

//! A derived kind of service behaves as those of the contract do.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused, unreachable_pub, clippy::all, clippy::pedantic)]

use snapwire::codec::{Fault, Limit, Malformed, Profiles, Status};
use snapwire::{
    Client, ClientConfig, Endpoint, Error, Offer, Record, Server, ServerConfig, Service,
};

/// What is asked.
#[derive(Record)]
struct Question<'a> {
    text: &'a str,
    repeat: u32,
}

/// What is answered.
#[derive(Record)]
struct Repeated {
    texts: Vec<String>,
    total_bytes: u64,
}

/// Says it again.
#[derive(Debug, Service)]
#[service(code = 100, request = Question<'_>, response = Repeated)]
enum Repeat {}

fn serve(endpoint: &Endpoint, config: &ServerConfig) -> Server {
    Server::start::<Repeat>(endpoint, config, |question, reply| {
        if question.text == "silence" {
            return Ok(());
        }
        let texts = vec![question.text.to_owned(); question.repeat as usize];
        let total_bytes = u64::from(question.repeat) * question.text.len() as u64;
        Ok(reply.set(&Repeated { texts, total_bytes })?)
    })
    .expect("it serves")
}

fn offer(profile: Profiles) -> Offer {
    Offer {
        profiles: Profiles::BASELINE | profile,
        preferred: profile,
        request: Limit { payload_bytes: 0, batch_items: 64 },
        ..Offer::default()
    }
}

fn client(endpoint: &Endpoint, profile: Profiles) -> Client<Repeat> {
    let config = ClientConfig { offer: offer(profile), ..ClientConfig::default() };
    let mut client = Client::new(endpoint, &config);
    assert!(client.refresh(), "{}", client.state());
    client
}

#[cfg(test)]
mod derived {
    use super::*;

    #[test]
    fn calls_batches_and_pipelines_over_every_profile() {
        for profile in [Profiles::BASELINE, Profiles::SHM_HYBRID, Profiles::SHM_WAITERS] {
            let directory = tempfile::tempdir().expect("a directory");
            let endpoint = Endpoint::new(directory.path(), "repeat").expect("an endpoint");
            let server = serve(&endpoint, &ServerConfig::default());
            let mut client = client(&endpoint, profile);
            let answer = client.call(Question { text: "ab", repeat: 3 }).expect("an answer");
            assert_eq!(answer.total_bytes, 6);
            assert!(answer.texts.iter().eq(["ab", "ab", "ab"]));
            let asks = (0..64).map(|repeat| Question { text: "x", repeat });
            let answers = client.call_batch(asks).expect("answers");
            let lengths = answers.iter().map(|answer| answer.expect("an answer").texts.len());
            assert!(lengths.eq(0..64));
            let mut sums = Vec::new();
            let asks = (0..32).map(|repeat| Question { text: "xyz", repeat });
            let taken = client.pipeline(asks, 8, |index, answer| {
                sums.push((index as u64, answer.total_bytes));
                Ok(())
            });
            taken.expect("answers");
            sums.sort_unstable();
            assert!(sums.into_iter().eq((0..32).map(|repeat| (repeat, 3 * repeat))));
            server.stop();
        }
    }

    #[test]
    fn requests_and_responses_grow_and_servers_may_come_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let endpoint = Endpoint::new(directory.path(), "repeat").expect("an endpoint");
        let server = serve(&endpoint, &ServerConfig::default());
        let mut client = client(&endpoint, Profiles::SHM_WAITERS);
        let long = "y".repeat(100_000);
        let answer = client.call(Question { text: &long, repeat: 4 }).expect("an answer");
        assert_eq!((answer.total_bytes, answer.texts.len()), (400_000, 4));
        drop(server);
        let _server = serve(&endpoint, &ServerConfig::default());
        let answer = client.call(Question { text: "ab", repeat: 1 }).expect("an answer");
        assert_eq!(answer.texts.get(0), Some("ab"));
        assert!(client.status().reconnects > 0);
    }

    /// Who was built with other fields gets no answer to another question, nor another answer.
    #[test]
    fn other_structures_are_refused_on_either_side() {
        /// The fields of `Question`, the other way round.
        #[derive(Record)]
        struct Swapped<'a> {
            repeat: u32,
            text: &'a str,
        }
        /// `Repeated` without a field.
        #[derive(Record)]
        struct Shorter {
            texts: Vec<String>,
        }
        #[derive(Debug, Service)]
        #[service(code = 100, request = Swapped<'_>, response = Repeated)]
        enum OtherQuestion {}
        #[derive(Debug, Service)]
        #[service(code = 100, request = Question<'_>, response = Shorter)]
        enum OtherAnswer {}

        let directory = tempfile::tempdir().expect("a directory");
        let endpoint = Endpoint::new(directory.path(), "repeat").expect("an endpoint");
        let _server = serve(&endpoint, &ServerConfig::default());
        let mut asking = Client::<OtherQuestion>::new(&endpoint, &ClientConfig::default());
        assert!(asking.refresh());
        let error = asking.call(Swapped { repeat: 1, text: "ab" }).expect_err("another question");
        assert!(matches!(error, Error::Refused(Status::BAD_ENVELOPE)), "{error}");
        assert!(error.to_string().ends_with("build both sides from one source"), "{error}");
        let mut reading = Client::<OtherAnswer>::new(&endpoint, &ClientConfig::default());
        assert!(reading.refresh());
        let error = reading.call(Question { text: "ab", repeat: 1 }).expect_err("another answer");
        let other = Malformed { fault: Fault::OtherLayout, what: "Shorter" };
        assert!(matches!(error, Error::Malformed(malformed) if malformed == other), "{error}");
    }

    #[test]
    fn an_answer_that_is_not_set_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let endpoint = Endpoint::new(directory.path(), "repeat").expect("an endpoint");
        let _server = serve(&endpoint, &ServerConfig::default());
        let mut client = client(&endpoint, Profiles::BASELINE);
        let error = client.call(Question { text: "silence", repeat: 1 }).expect_err("none");
        assert!(matches!(error, Error::Refused(Status::INTERNAL_ERROR)), "{error}");
    }
}

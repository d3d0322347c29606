//! The derive macros [`Record`] and [`Service`]: a user's own requests and responses, with a layout
//! that is checked and printed, for snapwire's client and server.
//!
//! Users get them through the crate `snapwire`, which has the traits of the same names; the pages
//! below are their reference.
//!
//! # Map
//!
//! | module | holds |
//! | --- | --- |
//! | `mistake` | errors, all told at once |
//! | `field` | a field's type as a layout knows it |
//! | `layout` | where each field is, and the table that says so |
//! | `record` | the tokens of `#[derive(Record)]` |
//! | `service` | the tokens of `#[derive(Service)]` |
//!
//! # What this crate must never depend on
//!
//! Any crate of the workspace: it runs inside the compiler of everyone who uses snapwire. It looks
//! at tokens alone, so a layout depends on nothing but the source of its structure. Reading and
//! writing is done by `snapwire::record`, which the generated code names.
#![forbid(unsafe_code)]

mod field;
mod layout;
mod mistake;
mod record;
mod service;

use proc_macro::TokenStream;

/// Gives a structure a stable layout, a view and its checks.
///
/// ```
/// use snapwire::Record;
///
/// /// What a file is.
/// #[derive(Record)]
/// pub struct File<'a> {
///     /// In bytes.
///     pub size: u64,
///     pub is_directory: bool,
///     pub digest: [u8; 20],
///     pub name: &'a str,
///     pub owner: Owner,
///     pub links: Vec<String>,
///     pub blocks: &'a [u32],
/// }
///
/// #[derive(Record)]
/// #[record(version = 3)]
/// pub struct Owner {
///     pub uid: u32,
/// }
///
/// let file = File {
///     size: 7,
///     is_directory: false,
///     digest: [9; 20],
///     name: "a",
///     owner: Owner { uid: 1000 },
///     links: vec!["b".into(), "c".into()],
///     blocks: &[1, 2, 3],
/// };
/// let mut payload = [0; 256];
/// let length = snapwire::record::encode(&file, &mut payload)?;
/// let view: FileView<'_> = snapwire::record::decode::<File>(&payload[..length])?;
/// assert_eq!((view.size, view.name, view.owner.uid), (7, "a", 1000));
/// assert!(view.links.iter().eq(["b", "c"]));
/// assert_eq!(view.blocks.get(2), Some(3));
/// assert!(File::LAYOUT.contains("| 8 | 8 | `size`: `u64` |"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Fields
///
/// | type | in the record | in the view |
/// | --- | --- | --- |
/// | `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool` | itself | itself |
/// | `[T; 4]` of these | its elements | itself |
/// | `&str`, `String` | a part | `&str` |
/// | `&[u8]`, `Vec<u8>` | a part | `&[u8]` |
/// | `&[T]`, `Vec<T>` of the other numbers and `bool` | a part | `Scalars` |
/// | `&[T]`, `Vec<T>` of texts | a part | `Texts` |
/// | another derived structure | a part | its view |
/// | `&[T]`, `Vec<T>` of these | a part | `Records` |
///
/// How parts are laid out is said on the page of `snapwire::record`; the table of each structure is
/// in its constant `LAYOUT`, on its page and on that of its view.
///
/// The fields are the layout: their order, their types and, for the check, their names. Peers that
/// were built with others refuse it, and so they do with another `version`, which is for fields that
/// stay and mean something else.
///
/// # Attributes
///
/// | | |
/// | --- | --- |
/// | `#[record(version = 2)]` | the layout's version, 1 if not given |
/// | `#[record(crate = path)]` | where the crate `snapwire` is found, `::snapwire` if not given |
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(item: TokenStream) -> TokenStream {
    record::expand(item.into()).unwrap_or_else(|errors| errors.into_compile_error()).into()
}

/// Makes an empty `enum` a kind of service, for `Client` and `Server` of snapwire.
///
/// ```
/// use snapwire::{Client, ClientConfig, Endpoint, Record, Server, ServerConfig, Service};
///
/// #[derive(Record)]
/// pub struct Question<'a> {
///     pub text: &'a str,
/// }
///
/// #[derive(Record)]
/// pub struct Answer {
///     pub words: u32,
/// }
///
/// /// Counts words.
/// #[derive(Service)]
/// #[service(code = 100, request = Question<'_>, response = Answer)]
/// pub enum WordCount {}
///
/// # let directory = tempfile::tempdir()?;
/// let endpoint = Endpoint::new(directory.path(), "words")?;
/// let server = Server::start::<WordCount>(&endpoint, &ServerConfig::default(), |question, reply| {
///     let words = question.text.split_whitespace().count() as u32;
///     Ok(reply.set(&Answer { words })?)
/// })?;
/// let mut client = Client::<WordCount>::new(&endpoint, &ClientConfig::default());
/// client.refresh();
/// assert_eq!(client.call(Question { text: "how many words" })?.words, 3);
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A handler gets the view of the request and sets the response. Batches, pipelines, retries and
/// growth are those of every other kind.
///
/// # Attributes
///
/// | | |
/// | --- | --- |
/// | `code = 100` | the method's code on the wire, 6 to 65535: those below are taken |
/// | `request = Question<'_>` | what clients ask with, a derived structure |
/// | `response = Answer` | what servers answer, likewise |
/// | `crate = path` | where the crate `snapwire` is found, `::snapwire` if not given |
#[proc_macro_derive(Service, attributes(service))]
pub fn derive_service(item: TokenStream) -> TokenStream {
    service::expand(item.into()).unwrap_or_else(|errors| errors.into_compile_error()).into()
}

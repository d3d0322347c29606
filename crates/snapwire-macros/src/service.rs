//! The tokens of `#[derive(Service)]`.

use crate::field::with_lifetime;
use crate::mistake::Mistakes;
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, LitInt, Path, Type};

/// The codes of the contract's own methods end here.
const CODE_MIN: u16 = 6;
const EXAMPLE: &str = "as in `#[service(code = 100, request = Question, response = Answer)]`";

/// What `#[service(...)]` says.
#[derive(Default)]
struct Options {
    code: Option<u16>,
    request: Option<Type>,
    response: Option<Type>,
    snapwire: Option<Path>,
}

impl Options {
    fn read(input: &DeriveInput) -> syn::Result<Options> {
        let mut options = Options::default();
        let named = |attribute: &&syn::Attribute| attribute.path().is_ident("service");
        for attribute in input.attrs.iter().filter(named) {
            attribute.parse_nested_meta(|meta| {
                let twice = || meta.error("this is said twice");
                if meta.path.is_ident("code") {
                    let literal: LitInt = meta.value()?.parse()?;
                    let code = literal.base10_parse().ok().filter(|code| *code >= CODE_MIN);
                    let message = "a code is 6 to 65535; those below are the contract's own";
                    let code = code.ok_or(syn::Error::new(literal.span(), message))?;
                    options.code.replace(code).map_or(Ok(()), |_| Err(twice()))
                } else if meta.path.is_ident("request") {
                    let before = options.request.replace(meta.value()?.parse()?);
                    before.map_or(Ok(()), |_| Err(twice()))
                } else if meta.path.is_ident("response") {
                    let before = options.response.replace(meta.value()?.parse()?);
                    before.map_or(Ok(()), |_| Err(twice()))
                } else if meta.path.is_ident("crate") {
                    options.snapwire = Some(meta.value()?.call(Path::parse_mod_style)?);
                    Ok(())
                } else {
                    Err(meta
                        .error("unknown key; there are `code`, `request`, `response` and `crate`"))
                }
            })?;
        }
        Ok(options)
    }
}

/// The implementation of the trait.
pub(crate) fn expand(item: TokenStream) -> syn::Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let mut mistakes = Mistakes::default();
    let options = mistakes.keep(Options::read(&input));
    let is_empty_enum = matches!(&input.data, Data::Enum(data) if data.variants.is_empty());
    if !is_empty_enum || !input.generics.params.is_empty() {
        let message = "a kind of service is an `enum` without variants or parameters: there are no \
                       values of it";
        mistakes.push(syn::Error::new(input.ident.span(), message));
    }
    let options = mistakes.or(options)?.unwrap_or_default();
    let missing =
        |key: &str| syn::Error::new(Span::call_site(), format!("`{key}` is missing, {EXAMPLE}"));
    let code = options.code.ok_or_else(|| missing("code"))?;
    let request = options.request.ok_or_else(|| missing("request"))?;
    let response = options.response.ok_or_else(|| missing("response"))?;
    let snapwire = options.snapwire.unwrap_or_else(|| syn::parse_quote!(::snapwire));
    let runtime = quote!(#snapwire::record);
    let name = &input.ident;
    let of = |ty: &Type, lifetime: &str| {
        let lifetime = syn::Lifetime::new(lifetime, Span::call_site());
        with_lifetime(ty, &lifetime)
    };
    let view = |ty: &Type, lifetime: &str| {
        let lifetime = syn::Lifetime::new(lifetime, Span::call_site());
        let of = of(ty, "'static");
        quote_spanned!(ty.span()=> <#of as #runtime::Record>::View<#lifetime>)
    };
    let ask = of(&request, "'a");
    let (request_static, response_static) = (of(&request, "'static"), of(&response, "'static"));
    let (request_r, response_a) = (view(&request, "'r"), view(&response, "'a"));
    let (request_a, response_static_view) = (view(&request, "'a"), view(&response, "'static"));
    let response_read = view(&response, "'_");
    let ask_read = of(&request, "'_");
    let docs = format!("Method code {code}.");
    Ok(quote! {
        #[doc = #docs]
        #[automatically_derived]
        impl #snapwire::Service for #name {
            const CODE: #snapwire::codec::Code = #snapwire::codec::Code(#code);
            type Ask<'a> = #ask;
            type Request<'a> = #request_a;
            type Reply<'r, 'b> = #runtime::RecordReply<'b, #response_static_view>;
            type Response<'a> = #response_a;

            fn encode(
                ask: &#ask_read,
                payload: &mut [u8],
            ) -> ::core::result::Result<usize, #snapwire::codec::BuildError> {
                #runtime::encode(ask, payload)
            }

            fn open<'r, 'b>(
                request: &'r [u8],
                payload: &'b mut [u8],
            ) -> ::core::result::Result<
                (#request_r, #runtime::RecordReply<'b, #response_static_view>),
                #snapwire::OpenError,
            > {
                #runtime::open::<#request_static, #response_static_view>(request, payload)
            }

            fn finish(
                reply: Self::Reply<'_, '_>,
            ) -> ::core::result::Result<#snapwire::Answer, #snapwire::codec::BuildError> {
                reply.finish()
            }

            fn decode_response(
                payload: &[u8],
            ) -> ::core::result::Result<#response_read, #snapwire::codec::Malformed> {
                #runtime::decode::<#response_static>(payload)
            }
        }

        #[automatically_derived]
        impl #snapwire::Batchable for #name {}
    })
}

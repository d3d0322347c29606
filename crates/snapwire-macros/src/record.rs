//! The tokens of `#[derive(Record)]`.

use crate::field::{Shape, with_lifetime};
use crate::layout::{Layout, Placed};
use crate::mistake::Mistakes;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Fields, GenericParam, Lifetime, LitInt, Path};

/// What `#[record(...)]` says.
struct Options {
    version: u16,
    snapwire: Path,
}

impl Options {
    fn read(attributes: &[Attribute]) -> syn::Result<Options> {
        let mut options = Options { version: 1, snapwire: syn::parse_quote!(::snapwire) };
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("record")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("version") {
                    let version: LitInt = meta.value()?.parse()?;
                    let wrong = || syn::Error::new(version.span(), "a version is 1 to 65535");
                    options.version = version.base10_parse().map_err(|_| wrong())?;
                    if options.version == 0 {
                        return Err(wrong());
                    }
                    Ok(())
                } else if meta.path.is_ident("crate") {
                    options.snapwire = meta.value()?.call(Path::parse_mod_style)?;
                    Ok(())
                } else {
                    Err(meta.error("unknown key; there are `version = 2` and `crate = path`"))
                }
            })?;
        }
        Ok(options)
    }
}

/// The largest view, in bytes. A thread's stack is 2 MiB, and a build without optimisation has a
/// dozen copies on it.
const VIEW_MAX: usize = 64 << 10;

/// The implementation of the trait, and the view.
pub(crate) fn expand(item: TokenStream) -> syn::Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let mut mistakes = Mistakes::default();
    let options = mistakes.keep(Options::read(&input.attrs));
    for parameter in &input.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            let message = "a record has no parameters but lifetimes: its layout is one";
            mistakes.push(syn::Error::new(parameter.span(), message));
        }
    }
    let members = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => fields.named.iter().collect(),
            Fields::Unit => Vec::new(),
            Fields::Unnamed(fields) => {
                let message = "the fields of a record have names, which its view and its table use";
                mistakes.push(syn::Error::new(fields.span(), message));
                Vec::new()
            }
        },
        _ => {
            mistakes.push(syn::Error::new(input.ident.span(), "only a `struct` is a record"));
            Vec::new()
        }
    };
    let mut shapes = Vec::new();
    for member in &members {
        for attribute in member.attrs.iter().filter(|attribute| attribute.path().is_ident("record"))
        {
            let message = "a field has no options; they are the structure's";
            mistakes.push(syn::Error::new(attribute.span(), message));
        }
        if let (Some(name), Some(shape)) = (&member.ident, mistakes.keep(Shape::of(&member.ty))) {
            shapes.push((name.unraw().to_string(), shape));
        }
    }
    let Some(options) = options else {
        return mistakes.or(TokenStream::new());
    };
    mistakes.or(())?;

    let layout = Layout::of(options.version, shapes);
    let snapwire = &options.snapwire;
    let runtime = quote!(#snapwire::record);
    let (name, vis) = (&input.ident, &input.vis);
    let view = format_ident!("{}View", name.unraw());
    let (table, check) = layout.table();
    let (len, text_name) = (layout.len, name.unraw().to_string());
    let docs = format!("The layout of a record as it is sent:\n\n{table}");
    let view_docs = format!(
        "A [`{text_name}`] in a payload, checked as a whole. Numbers are copied, the rest is \
         borrowed.\n\n{table}"
    );

    let lifetime: Lifetime = syn::parse_quote!('__view);
    let uses_lifetime = layout.fields.iter().any(|field| field.shape.is_part());
    let bytes_marker = (!uses_lifetime).then(|| {
        quote! {
            #[doc(hidden)]
            pub __view: ::core::marker::PhantomData<&'__view ()>,
        }
    });
    let marker_value = (!uses_lifetime).then(|| quote!(__view: ::core::marker::PhantomData,));

    let mut view_fields = Vec::new();
    let mut writes = Vec::new();
    let mut reads = Vec::new();
    let mut values = Vec::new();
    for (index, (member, field)) in members.iter().zip(&layout.fields).enumerate() {
        let ident = member.ident.as_ref();
        let member_vis = &member.vis;
        let at = field.at;
        let what = format!("{text_name}.{}", field.name);
        let ty = view_type(field, &lifetime, &runtime);
        let docs: Vec<_> =
            member.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).collect();
        let default_docs = docs.is_empty().then(|| {
            let text = format!("`{}` of the record.", field.name);
            quote!(#[doc = #text])
        });
        view_fields.push(quote!(#(#docs)* #default_docs #member_vis #ident: #ty,));
        let span = member.ty.span();
        writes.push(match &field.shape {
            Shape::Scalar(_) => quote_spanned!(span=> writer.scalar(#at, self.#ident);),
            Shape::Array(..) => quote_spanned!(span=> writer.array(#at, &self.#ident);),
            Shape::Text => quote_spanned!(span=> writer.text(#at, &self.#ident)?;),
            Shape::Record(_) => quote_spanned!(span=> writer.record(#at, &self.#ident)?;),
            Shape::Scalars(scalar) if scalar.name == "u8" => {
                quote_spanned!(span=> writer.bytes(#at, &self.#ident)?;)
            }
            Shape::Scalars(_) => quote_spanned!(span=> writer.scalars(#at, &self.#ident)?;),
            Shape::Texts => quote_spanned!(span=> writer.texts(#at, &self.#ident)?;),
            Shape::Records(_) => quote_spanned!(span=> writer.records(#at, &self.#ident)?;),
        });
        if field.padding > 0 {
            let (from, length) = (at - field.padding, field.padding);
            reads.push(quote!(reader.zeros(#from, #length, #text_name)?;));
        }
        let local = format_ident!("field_{index}");
        let read = match &field.shape {
            Shape::Scalar(_) => quote!(reader.scalar(#at, #what)?),
            Shape::Array(..) => quote!(reader.array(#at, #what)?),
            Shape::Text => quote!(reader.text(#at, #what)?),
            Shape::Record(ty) => {
                let ty = with_lifetime(ty, &lifetime);
                quote_spanned!(span=> reader.record::<#ty>(#at, #what)?)
            }
            Shape::Scalars(scalar) if scalar.name == "u8" => quote!(reader.bytes(#at, #what)?),
            Shape::Scalars(_) => quote!(reader.scalars(#at, #what)?),
            Shape::Texts => quote!(reader.texts(#at, #what)?),
            Shape::Records(_) => quote!(reader.records(#at, #what)?),
        };
        reads.push(quote!(let #local = #read;));
        values.push(quote!(#ident: #local,));
    }
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let too_large = format!(
        "`{text_name}` is read onto the stack as a whole, with the records in it: at most {VIEW_MAX} \
         bytes; use `Vec` for long arrays"
    );
    Ok(quote! {
        const _: () = ::core::assert!(
            ::core::mem::size_of::<#view<'static>>() <= #VIEW_MAX,
            #too_large
        );

        #[doc = #docs]
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #runtime::Record for #name #type_generics #where_clause {
            const CHECK: u32 = #check;
            const FIXED_LEN: usize = #len;
            const NAME: &'static str = #text_name;
            const LAYOUT: &'static str = #table;
            type View<'__view> = #view<'__view>;

            fn write(
                &self,
                writer: &mut #runtime::Writer<'_>,
            ) -> ::core::result::Result<(), #snapwire::codec::BuildError> {
                let _ = &writer;
                #(#writes)*
                ::core::result::Result::Ok(())
            }

            fn read<'__view>(
                reader: &mut #runtime::Reader<'__view>,
            ) -> ::core::result::Result<#view<'__view>, #snapwire::codec::Malformed> {
                let _ = &reader;
                #(#reads)*
                ::core::result::Result::Ok(#view { #(#values)* #marker_value })
            }
        }

        #[doc = #view_docs]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #[allow(dead_code, deprecated, nonstandard_style)]
        #vis struct #view<'__view> {
            #(#view_fields)*
            #bytes_marker
        }
    })
}

/// What a field is in the view.
fn view_type(field: &Placed, lifetime: &Lifetime, runtime: &TokenStream) -> TokenStream {
    let scalar = |name: &str| {
        let ident = format_ident!("{name}");
        quote!(::core::primitive::#ident)
    };
    match &field.shape {
        Shape::Scalar(kind) => scalar(kind.name),
        Shape::Array(kind, length) => {
            let element = scalar(kind.name);
            quote!([#element; #length])
        }
        Shape::Text => quote!(&#lifetime ::core::primitive::str),
        Shape::Record(ty) => {
            let ty = with_lifetime(ty, lifetime);
            quote_spanned!(ty.span()=> <#ty as #runtime::Record>::View<#lifetime>)
        }
        Shape::Scalars(kind) if kind.name == "u8" => quote!(&#lifetime [::core::primitive::u8]),
        Shape::Scalars(kind) => {
            let element = scalar(kind.name);
            quote!(#runtime::Scalars<#lifetime, #element>)
        }
        Shape::Texts => quote!(#runtime::Texts<#lifetime>),
        Shape::Records(ty) => {
            let ty = with_lifetime(ty, lifetime);
            quote_spanned!(ty.span()=> #runtime::Records<#lifetime, #ty>)
        }
    }
}

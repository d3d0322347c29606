//! From the attribute and its function to the tokens that replace them.
//!
//! The function moves, as it is, into a function of the module it was written in, so that names in
//! its body mean what they meant. Next to it in there stands the entry of the table of all cases.
//! Generated tokens have the span of the attribute, which keeps lints away from them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Path;
use syn::ext::IdentExt;

use crate::attribute::Attributes;
use crate::check::check;
use crate::function::{self, Function};
use crate::mistake::Mistakes;
use crate::variant::{Variant, variants};

/// Replaces a function under the attribute. With mistakes, these are what is left, and the function.
pub(crate) fn expand(words: TokenStream, item: TokenStream) -> TokenStream {
    let function = match function::parse(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #item);
        }
    };
    tests(words, function.clone()).unwrap_or_else(|errors| {
        let errors = errors.into_compile_error();
        let function = function::plain(function);
        quote!(#errors #function)
    })
}

fn tests(words: TokenStream, item: syn::ItemFn) -> syn::Result<TokenStream> {
    let mut mistakes = Mistakes::default();
    let attributes = Attributes::read(words, &mut mistakes);
    let axes = check(&attributes, &mut mistakes);
    let variants = variants(&axes, &attributes, &mut mistakes);
    let function = Function::new(item, &attributes, &mut mistakes);
    let belljar = attributes.crate_path.clone();
    let belljar = belljar.unwrap_or_else(|| syn::parse_quote!(::belljar));
    let private = quote!(#belljar::__private);
    mistakes.or(())?;

    let case = case(&attributes, &function, &variants, &belljar);
    let Function { cfgs, docs, lints, ignores, vis, name, item, .. } = &function;
    let ignore = attributes.ignore.as_deref().map(|ignore| match ignore {
        "" => quote!(#[ignore]),
        reason => quote!(#[ignore = #reason]),
    });
    let test = quote!(#[::core::prelude::v1::test] #(#ignores)* #ignore);
    let table = quote! {
        #item
        #[#private::linkme::distributed_slice(#private::CASES)]
        #[linkme(crate = #private::linkme)]
        static __BELLJAR_CASE: #private::Case = #case;
    };
    if let [_] = variants[..] {
        return Ok(quote! {
            #(#cfgs)* #(#docs)* #(#lints)* #test
            #vis fn #name() {
                #table
                #private::run(&__BELLJAR_CASE, 0);
            }
        });
    }
    let run = format_ident!("__belljar_{}", name.unraw(), span = Span::call_site());
    let labels = variants.iter().map(|variant| Ident::new(&variant.label, Span::call_site()));
    let indices = 0..variants.len();
    let module = located(name.span(), name);
    Ok(quote! {
        #(#cfgs)* #(#lints)*
        #[cfg(test)]
        fn #run(variant: usize) {
            #table
            #private::run(&__BELLJAR_CASE, variant);
        }
        #(#cfgs)* #(#docs)*
        #[cfg(test)]
        mod #module {
            #(
                #test
                fn #labels() {
                    super::#run(#indices);
                }
            )*
        }
    })
}

/// The entry in the table of cases.
fn case(
    attributes: &Attributes,
    function: &Function,
    variants: &[Variant],
    belljar: &Path,
) -> TokenStream {
    let private = quote!(#belljar::__private);
    let Function { name, argument, makes_scenario, output, .. } = function;
    let texts = |list: &Option<Vec<String>>| {
        let list = list.iter().flatten();
        quote!(&[#(#list),*])
    };
    let needs = texts(&attributes.needs);
    let modules = texts(&attributes.modules);
    let tools = texts(&attributes.tools);
    let memory_mib = option(attributes.memory_mib);
    let timeout_ms = option(attributes.timeout.map(|timeout| timeout.as_millis() as u64));
    let expect_fail = option(attributes.expect_fail.as_ref());
    let ignore = option(attributes.ignore.clone().or_else(|| function.ignored()));
    // Type errors point at the types that the author wrote.
    let called = located(*output, name);
    let call = match argument {
        Some(argument) => {
            let span = syn::spanned::Spanned::span(argument);
            let ctx = Ident::new("ctx", Span::call_site().located_at(span));
            quote_spanned!(called.span()=> #called(#ctx))
        }
        None => quote_spanned!(called.span()=> #called()),
    };
    let given = argument.as_ref().map_or_else(|| quote!(_), |_| quote!(ctx));
    let file = quote_spanned!(name.span()=> ::core::file!());
    let line = quote_spanned!(name.span()=> ::core::line!());
    let name = name.to_string();
    let (body, scenario) = if *makes_scenario {
        (quote!(#private::play_declared), quote!(::core::option::Option::Some(|#given| #call)))
    } else {
        let body = quote!(|#given| #private::IntoEnded::into_ended(#call));
        (body, quote!(::core::option::Option::None))
    };
    let limits = match &attributes.limits {
        Some(limits) => quote!(|| #limits),
        None => quote!(#private::Limits::default),
    };
    let staged = attributes.staged.iter().flatten();
    let expect_check = option(attributes.expect_check.as_ref());
    let allow_inconclusive = attributes.allow_inconclusive.unwrap_or_default();
    let variants = variants.iter().map(|variant| {
        let label = &variant.label;
        let topology = option(variant.machine.as_ref().map(|machine| &machine.topology));
        let preset = option(variant.machine.as_ref().and_then(|machine| machine.preset));
        let mode = option(variant.mode);
        let kernel = option(variant.kernel.as_ref());
        let scheduler = option(variant.scheduler.map(|at| {
            let path = &attributes.scheduler.as_deref().unwrap_or_default()[at];
            quote!(&#path)
        }));
        let seed = option(variant.seed);
        quote! {
            #private::Variant {
                label: #label,
                topology: #topology,
                preset: #preset,
                mode: #mode,
                kernel: #kernel,
                scheduler: #scheduler,
                seed: #seed,
            }
        }
    });
    quote! {
        #private::Case {
            name: ::core::concat!(::core::module_path!(), "::", #name),
            package: ::core::env!("CARGO_PKG_NAME"),
            manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
            file: #file,
            line: #line,
            body: #body,
            scenario: #scenario,
            limits: #limits,
            staged: &[#(&#staged),*],
            memory_mib: #memory_mib,
            needs: #needs,
            modules: #modules,
            tools: #tools,
            timeout_ms: #timeout_ms,
            expect_fail: #expect_fail,
            expect_check: #expect_check,
            allow_inconclusive: #allow_inconclusive,
            ignore: #ignore,
            variants: &[#(#variants),*],
        }
    }
}

fn option<T: quote::ToTokens>(value: Option<T>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

/// The word as if written at `place`, yet ours: the compiler points there, and lints look away.
fn located(place: Span, word: &Ident) -> Ident {
    let mut word = word.clone();
    word.set_span(Span::call_site().located_at(place));
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretty(words: &str, item: &str) -> String {
        let tokens = expand(words.parse().unwrap(), item.parse().unwrap());
        prettyplease::unparse(&syn::parse2(tokens).unwrap())
    }

    #[test]
    fn one_variant_becomes_a_function() {
        let words = r#"topology = "1n2l4c1t", needs = ["sched_ext"], timeout = "10s""#;
        let item = "/// Docs.\n#[cfg(unix)] #[expect(unused)] #[inline] pub fn name(ctx: &Ctx) -> Result<()> { body() }";
        assert_eq!(pretty(words, item), include_str!("../tests/expanded/one_variant.rs"));
    }

    #[test]
    fn several_variants_become_a_module() {
        let words =
            r#"mode = ["tcg", "det"], seed = 7, expect_fail, ignore = "slow", crate = crate"#;
        let item = "/// Docs.\n#[cfg(unix)] #[expect(unused)] #[inline] pub fn name() { body() }";
        assert_eq!(pretty(words, item), include_str!("../tests/expanded/several_variants.rs"));
    }

    #[test]
    fn mistakes_leave_the_function() {
        let item = "#[ignore] #[should_panic] #[inline] fn name(ctx: &Ctx) { body() }";
        let tokens = pretty("llc = 2", item);
        assert_eq!(tokens.matches("compile_error!").count(), 2, "{tokens}");
        assert!(
            tokens
                .ends_with("#[inline]\n#[allow(dead_code)]\nfn name(ctx: &Ctx) {\n    body()\n}\n")
        );
        let tokens = pretty("", "struct NotAFunction;");
        assert!(tokens.ends_with("struct NotAFunction;\n"));
    }
}

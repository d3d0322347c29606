//! The function under the attribute: what shape it must have, and where its other attributes go.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, GenericParam, Item, ItemFn, ReturnType, Type, Visibility};

use crate::attribute::Attributes;
use crate::mistake::Mistakes;

/// A test function, taken apart.
pub(crate) struct Function {
    /// `#[cfg]`: on everything that is generated.
    pub(crate) cfgs: Vec<Attribute>,
    /// `///`: on what carries the function's name.
    pub(crate) docs: Vec<Attribute>,
    /// `#[allow]` and the like: around the function and what is generated next to it.
    pub(crate) lints: Vec<Attribute>,
    /// `#[ignore]`: on every test.
    pub(crate) ignores: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    /// The type of the argument, if there is one.
    pub(crate) argument: Option<Type>,
    /// Whether it makes a `Scenario` to be played, rather than being the body itself.
    pub(crate) makes_scenario: bool,
    /// Where the type of the result is written.
    pub(crate) output: Span,
    /// The function itself, private, with the attributes that are left.
    pub(crate) item: ItemFn,
}

/// The function, or the error that the item is none.
pub(crate) fn parse(item: TokenStream) -> syn::Result<ItemFn> {
    syn::parse2::<ItemFn>(item.clone()).map_err(|error| match syn::parse2::<Item>(item) {
        Ok(other) => syn::Error::new(
            other.span(),
            "`#[belljar::test]` goes on a function, as in `fn name(ctx: &Ctx) -> Result<()> { .. }`",
        ),
        Err(_) => error,
    })
}

/// The function without what only a test may carry, for the compiler to look at next to our errors.
pub(crate) fn plain(mut item: ItemFn) -> ItemFn {
    item.attrs.retain(|attr| !is(attr, &["ignore", "should_panic", "test"]));
    item.attrs.push(syn::parse_quote!(#[allow(dead_code)]));
    item
}

impl Function {
    pub(crate) fn new(mut item: ItemFn, given: &Attributes, mistakes: &mut Mistakes) -> Self {
        shape(&item, mistakes);
        let (mut cfgs, mut docs, mut lints, mut ignores) = (vec![], vec![], vec![], vec![]);
        for attr in std::mem::take(&mut item.attrs) {
            if is(&attr, &["cfg"]) {
                cfgs.push(attr);
            } else if is(&attr, &["doc"]) {
                docs.push(attr);
            } else if is(&attr, &["allow", "expect", "warn", "deny", "forbid"]) {
                lints.push(attr);
            } else if is(&attr, &["ignore"]) || is_conditional_ignore(&attr) {
                if given.has("ignore") {
                    let message = "`ignore` is also a key of `#[belljar::test(...)]`: keep one";
                    mistakes.add(attr.path().span(), message);
                }
                ignores.push(attr);
            } else if is(&attr, &["should_panic"]) {
                let message = "a test that must fail is marked `#[belljar::test(expect_fail)]`, or \
                               `expect_fail = \"part of the reason\"`: use it and remove this";
                mistakes.add(attr.path().span(), message);
            } else if attr.path().segments.last().is_some_and(|last| last.ident == "test") {
                let message = "`#[belljar::test]` makes the function a test: remove this";
                mistakes.add(attr.path().span(), message);
            } else {
                item.attrs.push(attr);
            }
        }
        let vis = std::mem::replace(&mut item.vis, Visibility::Inherited);
        let name = item.sig.ident.clone();
        let argument = match item.sig.inputs.first() {
            Some(FnArg::Typed(argument)) => Some((*argument.ty).clone()),
            _ => None,
        };
        let output = match &item.sig.output {
            ReturnType::Default => name.span(),
            ReturnType::Type(_, output) => output.span(),
        };
        let makes_scenario =
            matches!(&item.sig.output, ReturnType::Type(_, output) if is_scenario(output));
        Self { cfgs, docs, lints, ignores, vis, name, argument, makes_scenario, output, item }
    }

    /// The reason in `#[ignore]`, empty where it has none.
    pub(crate) fn ignored(&self) -> Option<String> {
        let ignore = self.ignores.iter().find(|attr| is(attr, &["ignore"]))?;
        let reason = ignore.meta.require_name_value().ok().and_then(|meta| match &meta.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(reason), .. }) => Some(reason.value()),
            _ => None,
        });
        Some(reason.unwrap_or_default())
    }
}

/// Refuses what a test cannot be called as.
fn shape(item: &ItemFn, mistakes: &mut Mistakes) {
    let sig = &item.sig;
    let mut wrong = |span: Span, why: &str| mistakes.add(span, format!("a test {why}"));
    if let Some(word) = &sig.constness {
        wrong(word.span(), "runs in a virtual machine, not in the compiler: remove `const`");
    }
    if let Some(word) = &sig.asyncness {
        wrong(word.span(), "is not async: build a runtime in its body and `block_on` there");
    }
    if let Some(word) = &sig.unsafety {
        wrong(word.span(), "is called by belljar, so it must be safe: use `unsafe` in its body");
    }
    if let Some(word) = &sig.abi {
        wrong(word.extern_token.span(), "is called from Rust: remove `extern`");
    }
    let lifetime = |param: &&GenericParam| matches!(param, GenericParam::Lifetime(_));
    if let Some(param) = sig.generics.params.iter().find(|param| !lifetime(param)) {
        wrong(param.span(), "is called as it stands: write a generic helper and call it from here");
    }
    if let Some(FnArg::Receiver(receiver)) = sig.inputs.first() {
        let why = "is a free function: move it out of the `impl` and take `ctx: &Ctx`";
        wrong(receiver.self_token.span(), why);
    } else if let Some(second) = sig.inputs.iter().nth(1) {
        wrong(second.span(), "takes `ctx: &Ctx` or nothing: what else it needs is in the `Ctx`");
    }
}

fn is_scenario(output: &Type) -> bool {
    let Type::Path(path) = output else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Scenario")
}

fn is(attr: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attr.path().is_ident(name))
}

/// `#[cfg_attr(condition, ignore)]`.
fn is_conditional_ignore(attr: &Attribute) -> bool {
    let ignore = |token| matches!(token, TokenTree::Ident(word) if word == "ignore");
    is(attr, &["cfg_attr"])
        && attr.meta.require_list().is_ok_and(|list| list.tokens.clone().into_iter().any(ignore))
}

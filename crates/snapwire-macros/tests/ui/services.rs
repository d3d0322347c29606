//! Kinds of service that are none.

use snapwire::{Record, Service};

#[derive(Record)]
struct Question;

struct Plain;

#[derive(Service)]
#[service(code = 5, request = Question, response = Question)]
enum Taken {}

#[derive(Service)]
#[service(code = 70000, request = Question, response = Question)]
enum TooLarge {}

#[derive(Service)]
#[service(request = Question, response = Question)]
enum NoCode {}

#[derive(Service)]
#[service(code = 9, response = Question)]
enum NoRequest {}

#[derive(Service)]
#[service(code = 9, code = 8, request = Question, response = Question)]
enum Twice {}

#[derive(Service)]
#[service(code = 9, request = Question, response = Question, speed = 3)]
enum UnknownKey {}

#[derive(Service)]
#[service(code = 9, request = Question, response = Question)]
enum Inhabited {
    One,
}

#[derive(Service)]
#[service(code = 9, request = Question, response = Question)]
struct Structure;

#[derive(Service)]
#[service(code = 9, request = Question, response = Plain)]
enum NoLayout {}

fn main() {}

// The generated class of CXXRTL behind the class that harness.cc drives.
#include "design.h"
#include "top.h"
#include "ports.h"

struct Design::Model {
  cxxrtl_design::p_top top;
  std::string place; // of the assertion that failed
};

namespace {

struct Checker : cxxrtl::performer {
  Design &design;
  std::string &place;
  Checker(Design &design, std::string &place) : design(design), place(place) {}
  void on_check(cxxrtl::flavor type, bool condition, const cxxrtl::lazy_fmt &message,
                const cxxrtl::metadata_map &attributes) override {
    if (condition || type != cxxrtl::flavor::ASSERT) return;
    design.failed = 1;
    auto source = attributes.find("src");
    place = source == attributes.end() ? "an unknown place" : source->second.as_string();
    place.erase(0, place.find_last_of('/') + 1);
    std::string said = message();
    if (!said.empty()) place += ": " + said;
  }
};

} // namespace

void Design::power_on() {
  model = new Model;
  failed = 0;
}

void Design::power_off() {
  delete model;
  model = nullptr;
}

void Design::cycle() {
  Checker checker(*this, model->place);
  drive(model->top, *this);
  model->top.p_clk.set<bool>(false);
  model->top.step(&checker);
  sample(*this, model->top);
  model->top.p_clk.set<bool>(true);
  model->top.step(&checker);
}

const char *Design::failure() const { return failed ? model->place.c_str() : nullptr; }

// Lines over sizes, on logarithmic axes, as an SVG file: panels side by side, each with a legend of its own.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace catenet::bench {

struct plot_line {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y; both above 0
};

struct plot_panel {
  std::string title;
  std::string y_title;
  std::vector<plot_line> lines;
};

/// "64 KiB"
inline std::string size_text(double bytes) {
  static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit != 3; ++unit) bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, "%g %s", bytes, units[unit]);
  return text;
}

class svg_plot {
 public:
  explicit svg_plot(std::vector<plot_panel> panels) : panels_(std::move(panels)) {}

  /// Throws when the file cannot be written.
  void write(const std::string& path) {
    const double width = panel_width * static_cast<double>(panels_.size());
    out_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) + "\" height=\"" +
           number(height) +
           "\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" "
           "fill=\"white\"/>\n";
    for (std::size_t i = 0; i != panels_.size(); ++i) draw(panels_[i], panel_width * static_cast<double>(i));
    out_ += "</svg>\n";
    if (!(std::ofstream(path) << out_)) throw std::runtime_error("writing the plot to " + path + " failed");
  }

 private:
  static constexpr double panel_width = 420, height = 400, left = 56, right = 14, top = 30, bottom = 130;
  static constexpr const char* colors[] = {"#1b6ca8", "#c8452d", "#2e8b57", "#8a4fbf", "#b8860b", "#555555"};

  struct range {
    double from = 1e300, to = 0;
    void add(double v) {
      from = std::min(from, v);
      to = std::max(to, v);
    }
    // 0 to 1 along the axis
    [[nodiscard]] double at(double v) const {
      return to <= from ? 0.5 : (std::log(v) - std::log(from)) / (std::log(to) - std::log(from));
    }
  };

  static std::string number(double v) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", v);
    return text;
  }
  void text(double x, double y, const std::string& what, const char* anchor) {
    out_ += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" + what +
            "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const char* color) {
    out_ += "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" +
            number(y2) + "\" stroke=\"" + color + "\"/>\n";
  }

  void draw(const plot_panel& p, double at) {
    range x, y;
    for (const plot_line& l : p.lines)
      for (const auto& [px, py] : l.points) {
        x.add(px);
        y.add(py);
      }
    if (x.to == 0) return;
    const double x0 = at + left, w = panel_width - left - right, y0 = height - bottom, h = y0 - top;
    text(x0 + w / 2, top - 12, p.title + ": " + p.y_title, "middle");
    for (double v = x.from; v <= x.to * 1.01; v *= 16) {
      line(x0 + w * x.at(v), top, x0 + w * x.at(v), y0, "#dddddd");
      text(x0 + w * x.at(v), y0 + 14, size_text(v), "middle");
    }
    for (double v = std::pow(10, std::floor(std::log10(y.from))); v <= y.to; v *= 10)
      for (const double step : {v, 2 * v, 5 * v})
        if (step >= y.from && step <= y.to) {
          line(x0, y0 - h * y.at(step), x0 + w, y0 - h * y.at(step), "#dddddd");
          text(x0 - 4, y0 - h * y.at(step) + 4, number(step), "end");
        }
    for (std::size_t i = 0; i != p.lines.size(); ++i) {
      const std::string color = colors[i % std::size(colors)];
      std::string points;
      for (const auto& [px, py] : p.lines[i].points)
        points += number(x0 + w * x.at(px)) + "," + number(y0 - h * y.at(py)) + " ";
      out_ +=
          "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" + color + "\" points=\"" + points + "\"/>\n";
      const double ly = y0 + 36 + 15 * static_cast<double>(i);
      out_ += "<line x1=\"" + number(x0) + "\" x2=\"" + number(x0 + 22) + "\" y1=\"" + number(ly - 4) +
              "\" y2=\"" + number(ly - 4) + "\" stroke-width=\"2\" stroke=\"" + color + "\"/>\n";
      text(x0 + 28, ly, p.lines[i].name, "start");
    }
  }

  std::vector<plot_panel> panels_;
  std::string out_;
};

}  // namespace catenet::bench

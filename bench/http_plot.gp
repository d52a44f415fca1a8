# Draws bench/out/http.csv: throughput and tail latency of get_fast over the number of keys.
# Arguments: gnuplot -e "csv='…'; png='…'" bench/http_plot.gp
if (!exists("csv")) csv = "bench/out/http.csv"
if (!exists("png")) png = "bench/out/http_sizes.png"
set terminal pngcairo size 1200,520 font "sans,11"
set output png
set datafile separator ","
rows(bench) = "< awk -F, '$1==\"" . bench . "\"' '" . csv . "' | sort -t, -k5,5n"
benches = system("awk -F, '$1 ~ /^size_/ && !s[$1]++ {printf \"%s \", $1}' '" . csv . "'")
if (words(benches) == 0) exit

set multiplot layout 1,2 title "get\\_fast, 64 connections, uniform keys, 64-byte values"
set logscale x 10
set format x "%.0s%c"
set xlabel "keys"
set grid ytics lc rgb "#dddddd"
set yrange [0:*]
set key bottom left
set title "throughput"
set ylabel "requests per second"
plot for [i=1:words(benches)] rows(word(benches, i)) using 5:6 with linespoints lw 2 pt 7 lc i \
       title word(benches, i) noenhanced
set title "latency"
set ylabel "microseconds"
plot for [i=1:words(benches)] rows(word(benches, i)) using 5:9 with linespoints lw 2 pt 7 lc i \
       title word(benches, i) . " p99" noenhanced, \
     for [i=1:words(benches)] rows(word(benches, i)) using 5:10 with linespoints lw 2 dt 2 pt 6 \
       lc i title word(benches, i) . " p99.9" noenhanced
unset multiplot

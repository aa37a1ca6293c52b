#!/bin/sh
# Bundles echarts.min.js from the versions that package-lock.json pins.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund --silent
npx esbuild entry.js --bundle --minify --format=iife --global-name=echarts \
  --target=es2020 --legal-comments=none --charset=ascii --outfile=bundle.js --log-level=error
{
  echo '/*! Apache ECharts 6.1.0, Apache License 2.0, and zrender, BSD 3-Clause: see NOTICE-echarts.txt */'
  cat bundle.js
} > echarts.min.js
{
  echo 'echarts.min.js is a bundle of Apache ECharts and of zrender, which it draws with.'
  echo
  cat node_modules/echarts/NOTICE
  echo
  cat node_modules/echarts/LICENSE
  echo
  echo '--- zrender ---'
  echo
  cat node_modules/zrender/LICENSE
} > NOTICE-echarts.txt
rm -rf bundle.js node_modules
